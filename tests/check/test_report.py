"""Output of the check."""

from temporal_slo.check.diagnosis import Diagnosis
from temporal_slo.check.no_data_causes import DEPENDS_ON, Cause
from temporal_slo.check.printable import LINE_MAX, printable
from temporal_slo.check.report import Report, lines
from temporal_slo.check.scraping import Finding
from temporal_slo.check.selectors import Rule, Selector, UsedSelector

RULE = Rule("a.rules.yaml", "g", "30s", "r", is_alert=False, expression="x", labels=())


def used(metric: str) -> UsedSelector:
    """Return a selector that one rule uses."""
    return UsedSelector(Selector(metric), (RULE,), required=True)


def test_printable() -> None:
    """Control characters are escaped, and long text is cut."""
    assert printable("\x1b[2Ja\nb\u202e\u2028\u200b\r") == r"\x1b[2Ja\nb\u202e\u2028\u200b\r"
    assert printable("é€ 漢") == "é€ 漢"
    assert len(printable("x" * 9_999)) == LINE_MAX + 1


def test_foreign_text() -> None:
    """Text from other systems is escaped in every line."""
    report = Report(
        diagnoses=[Diagnosis(used("a\x1b"), Cause("k", "w\x07", "r"))],
        findings=[Finding(error=True, what="f\x1b", remedy="g\n")],
        summaries=["h\r"],
    )
    assert all(line.isprintable() for line in lines(report))


def test_result() -> None:
    """Selectors without data and errors fail the check; expected absences and warnings do not."""
    expected = Diagnosis(used("a"), appears_with="the first error")
    assert Report(diagnoses=[expected], findings=[Finding(error=False, what="w", remedy="r")]).ok
    assert not Report(diagnoses=[Diagnosis(used("a"), Cause("k", "w", "r"))]).ok
    assert not Report(findings=[Finding(error=True, what="w", remedy="r")]).ok


def test_no_data_is_not_zero() -> None:
    """An unknown event count is printed as `-`, not as 0."""
    report = Report(diagnoses=[Diagnosis(used("a"))], events={RULE.subject: None})
    assert list(lines(report))[1].split()[-1] == "-"
    report.events = {RULE.subject: 0.0}
    assert list(lines(report))[1].split()[-1] == "0"


def test_limits() -> None:
    """Selectors with one cause are grouped, and the output has limits for selectors and causes."""
    same = [Diagnosis(used(f"m{number}"), Cause("k", "w", "r")) for number in range(900)]
    printed = list(lines(Report(diagnoses=same)))
    assert "    and 897 more" in printed
    assert len(printed) < 12
    others = [Diagnosis(used(f"m{number}"), Cause("k", f"w{number}", "r")) for number in range(900)]
    printed = list(lines(Report(diagnoses=others)))
    assert "no data: 860 more causes" in printed
    assert len(printed) < 150


def test_dependency() -> None:
    """A selector that depends on another one names it, and what else is affected."""
    printed = list(lines(Report(diagnoses=[Diagnosis(used("slo:x"), Cause(DEPENDS_ON, "up", "fix that first"))])))
    assert "no data: depends on up; fix that first" in printed
    assert "    affects: r of Temporal server" in printed
