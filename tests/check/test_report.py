"""What is printed."""

from temporal_slo.check.diagnosis import Cause
from temporal_slo.check.judge import Verdict
from temporal_slo.check.report import Report, lines
from temporal_slo.check.scraping import Finding
from temporal_slo.check.selectors import Rule, Selector, Uses
from temporal_slo.check.text import LINE_MAX, plain

RULE = Rule("a.rules.yaml", "g", "30s", "r", alerts=False, expression="x", labels=())


def uses(metric: str) -> Uses:
    """A selector of one rule."""
    return Uses(Selector(metric), (RULE,), expected=True)


def test_plain() -> None:
    """Nothing that a terminal obeys is printed, and nothing at any length."""
    assert plain("\x1b[2Ja\nb\u202e\u2028\u200b\r") == r"\x1b[2Ja\nb\u202e\u2028\u200b\r"
    assert plain("é€ 漢") == "é€ 漢"
    assert len(plain("x" * 9_999)) == LINE_MAX + 1


def test_foreign_text() -> None:
    """What others wrote is escaped in every line."""
    report = Report(
        verdicts=[Verdict(uses("a\x1b"), Cause("k", "w\x07", "r"))],
        findings=[Finding(fault=True, what="f\x1b", remedy="g\n")],
        facts=["h\r"],
    )
    assert all(line.isprintable() for line in lines(report))


def test_result() -> None:
    """Dead selectors and faults are not well; what is not seen yet and warnings are."""
    unseen = Verdict(uses("a"), appears="the first trouble")
    assert Report(verdicts=[unseen], findings=[Finding(fault=False, what="w", remedy="r")]).well
    assert not Report(verdicts=[Verdict(uses("a"), Cause("k", "w", "r"))]).well
    assert not Report(findings=[Finding(fault=True, what="w", remedy="r")]).well


def test_no_data_is_not_zero() -> None:
    """Where no figure is known none is printed."""
    report = Report(verdicts=[Verdict(uses("a"))], events={RULE.about: None})
    assert list(lines(report))[1].split()[-1] == "-"
    report.events = {RULE.about: 0.0}
    assert list(lines(report))[1].split()[-1] == "0"


def test_bounded() -> None:
    """Many selectors with one cause are one block of it; many causes end in how many more there are."""
    same = [Verdict(uses(f"m{number}"), Cause("k", "w", "r")) for number in range(900)]
    printed = list(lines(Report(verdicts=same)))
    assert "    and 897 more" in printed
    assert len(printed) < 12
    others = [Verdict(uses(f"m{number}"), Cause("k", f"w{number}", "r")) for number in range(900)]
    printed = list(lines(Report(verdicts=others)))
    assert "dead for 860 causes more" in printed
    assert len(printed) < 150
