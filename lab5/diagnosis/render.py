"""A diagnosis for those who read it."""

from __future__ import annotations

from lab5.diagnosis.core import CAUSES, Diagnosis, Named
from lab5.text import Language, Text

_WORDS = {
    "evidence": Text("evidence", "證據"),
    "place": Text("place", "位置"),
    "mend": Text("mend", "修正"),
}


def as_text(diagnosis: Diagnosis, lang: Language) -> str:
    """Each cause in one sentence with its evidence, place and mend; what is unknown; what was ruled out."""
    lines: list[str] = []
    for one in diagnosis.causes:
        lines += ["", f"✗ {one.item} {one.name}: {one.sentence.say(lang)}", *details(one, lang)]
    for text in diagnosis.unknown:
        lines += ["", "? " + Text("I do not know: ", "不知道原因：").say(lang) + text.say(lang)]
    for text in diagnosis.remarks:
        lines += ["", "i " + text.say(lang)]
    if not diagnosis.causes and not diagnosis.unknown:
        lines += [
            "",
            Text(
                "Nothing that is known to go wrong is wrong here.", "沒有發現已知的錯誤原因。"
            ).say(lang),
        ]
    if diagnosis.ruled_out and diagnosis.unknown:
        lines += ["", Text("Ruled out:", "已排除：").say(lang)]
        by_topic: dict[str, list[str]] = {}
        for name in diagnosis.ruled_out:
            by_topic.setdefault(CAUSES[name].item, []).append(name)
        lines += [f"  {item}: {', '.join(names)}" for item, names in sorted(by_topic.items())]
    return "\n".join(lines[1:]) + "\n"


def details(one: Named, lang: Language) -> list[str]:
    """What speaks for a cause, where it stands and its mend, a line each."""
    found = []
    if one.evidence:
        found.append(f"  {_WORDS['evidence'].say(lang)}: {one.evidence.say(lang)}")
    if one.cell is not None:
        found.append(
            "  "
            + Text(
                f"place: cell {one.cell}, line {one.line}",
                f"位置：第 {one.cell} 個 cell，第 {one.line} 行",
            ).say(lang)
        )
    if one.mend:
        found.append(f"  {_WORDS['mend'].say(lang)}:")
        found += [f"    {line}" for line in one.mend.say(lang).split("\n")]
    return found
