from datetime import timedelta

import pytest

from temporal_slo.exporter.classify import payloads
from temporal_slo.exporter.classify.classifier import Classifier
from temporal_slo.exporter.classify.payloads import Decoder, RemoteCodec
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
    decoder = Decoder.of(settings, "shop")
    classifier = Classifier(decoder.decode)
    for _ in range(3):
        classifier.apply_slos(())
    assert [codec._http.is_closed for codec in opened] == [False]  # noqa: SLF001 nothing else shows it
    for _ in range(2):
        await decoder.close()
    assert [codec._http.is_closed for codec in opened] == [True]  # noqa: SLF001 as above
