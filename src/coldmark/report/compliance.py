"""What audit tests found, as text."""

from __future__ import annotations

from coldmark.core.compliance import AnswerComparison, ComplianceRecord, TestVerdict
from coldmark.core.nouns import Severity
from coldmark.report.text import number

CHANGED = (
    "the machine's own pace explains this: repeat on a machine left alone (coldmark compliance --tries 3), "
    "or where it stays at another pace, make the run itself anew"
)


def compliance_text(record: ComplianceRecord, run_dir: str) -> str:
    """One run's audit tests: a verdict each, and what speaks against it."""
    word = "all passed" if record.passed else "FAILED"
    lines = [f"{record.benchmark} {record.scenario} ({record.round}): {word}"]
    for verdict in record.tests.values():
        lines.append(f"  {verdict.test}     {'passed' if verdict.passed else 'FAILED'}  {_score(verdict)}")
        if verdict.answers is not None:
            lines.append(f"             {_answers(verdict.answers)}")
        lines += [f"             {text}" for text in verdict.pace_texts]
        if verdict.machine_changed:
            lines.append(f"             {CHANGED}")
        lines += [
            f"             {f.rule}: expected {f.expected}, found {f.found}"
            for f in verdict.findings
            if f.severity is not Severity.NOTE
        ]
    lines.append(f"  files      {run_dir}/compliance")
    return "\n".join(lines)


def _score(verdict: TestVerdict) -> str:
    score = verdict.score
    if score.speed is None:
        return "no score to compare"
    return f"{score.speed:.3f} times as fast as the run ({score.bound})"


def _answers(answers: AnswerComparison) -> str:
    text = f"{number(answers.test_entries)} answers of {number(answers.samples)} samples compared, "
    if not answers.differing:
        return text + "all equal"
    text += f"{answers.differing} differ"
    if answers.baseline is not None and answers.compliance is not None:
        text += f"; metric {answers.compliance:.6g} against {answers.baseline:.6g}"
    return text
