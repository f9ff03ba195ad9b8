import logging
import sys
from datetime import timedelta

import pytest
from temporalio.converter import DataConverter

from temporal_slo.errors import UsageError
from temporal_slo.exporter.classify import payloads
from temporal_slo.exporter.classify.classifier import Classifier
from temporal_slo.exporter.classify.payloads import Converters, Decoder, RemoteCodec
from temporal_slo.settings import ExporterSettings


async def test_one_codec_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A remote codec is opened once for a namespace, whatever is reloaded, and closed with its decoder."""
    opened: list[RemoteCodec] = []

    class Counted(RemoteCodec):
        def __init__(self, endpoint: str, namespace: str, *, authorization: str | None = None) -> None:
            super().__init__(endpoint, namespace, authorization=authorization)
            opened.append(self)

    monkeypatch.setattr(payloads, "RemoteCodec", Counted)
    connection = {"target_host": "localhost:7233", "namespace": "shop"}
    settings = ExporterSettings(
        connection,  # type: ignore[arg-type] # a part of what a connection may have
        "sqlite:///none",
        ("127.0.0.1", 0),
        timedelta(seconds=1),
        codec_endpoint="http://127.0.0.1:1/{namespace}",
    )
    decoder = Decoder.of(settings, "shop", Converters(settings).current())
    classifier = Classifier(decoder.decode)
    for _ in range(3):
        classifier.apply_slos(())
    assert [codec._http.is_closed for codec in opened] == [False]  # noqa: SLF001 nothing else shows it
    for _ in range(2):
        await decoder.close()
    assert [codec._http.is_closed for codec in opened] == [True]  # noqa: SLF001 as above


MADE = [DataConverter()]


def make() -> DataConverter:
    """Return a data converter, as long as its key is there."""
    if not MADE:
        raise FileNotFoundError("key.pem")
    return MADE[-1]


def test_converter_in_rotation(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the data converter cannot be made again, the last good one stays in use: logged once, visible in a metric."""
    first = MADE[0]
    settings = ExporterSettings(
        {"target_host": "localhost:7233", "namespace": "shop"},
        "sqlite:///none",
        ("127.0.0.1", 0),
        timedelta(seconds=1),
        data_converter=f"{__name__}:make",
    )
    converters = Converters(settings)

    def successful() -> list[float]:
        return [sample.value for sample in converters.samples()]  # type: ignore[misc] # no histogram among them

    with caplog.at_level(logging.INFO):
        monkeypatch.setattr(sys.modules[__name__], "MADE", [])
        assert [converters.current() is first for _ in range(2)] == [True, True]
        assert successful() == [0]
        with pytest.raises(UsageError, match=r"key\.pem"):
            Converters(settings)
        monkeypatch.setattr(sys.modules[__name__], "MADE", [DataConverter()])
        assert converters.current() is not first
        assert successful() == [1]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
