"""Every text for people stands in both languages, as a ``Text``: read off the syntax of every module,
and off the templates and the script of the pages of a class."""

import ast
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lab5
from lab5 import errors
from lab5.text import LANGUAGES, NOTHING, Text, printable

PACKAGE = Path(lab5.__path__[0])
MODULES = {p.relative_to(PACKAGE).as_posix(): p for p in sorted(PACKAGE.rglob("*.py"))}
ASSETS = {
    p.relative_to(PACKAGE).as_posix(): p
    for p in sorted(PACKAGE.rglob("*"))
    if p.suffix in (".html", ".js")
}
MARKS = r"\u3000-\u303f\uff00-\uffef"
ERRORS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.Lab5Error)
}


def words(node):
    """What an expression says by itself, without what is filled in; None if it is no string."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(p.value for p in parts if isinstance(p, ast.Constant))
        case ast.BinOp(left=left, op=ast.Add(), right=right) | ast.IfExp(body=left, orelse=right):
            both = words(left), words(right)
            return None if both == (None, None) else "".join(filter(None, both))
        case ast.Call(func=ast.Attribute(value=value, attr="join")):
            return words(value)
        case ast.Call(func=ast.Attribute(attr="join"), args=[ast.GeneratorExp(elt=each)]):
            return words(each)
    return None


def chinese(text, *, marks=False):
    """How many Chinese characters a text has, its full-width marks counted or not."""
    return len(re.findall(rf"[\u4e00-\u9fff{MARKS if marks else ''}]", text or ""))


def wrong(en, zh):
    """Why two expressions are not the English and the Chinese of one text; None if they are.

    Numbers, marks and what is filled in are the same in both.
    """
    said = words(en), words(zh)
    if "" in said:
        return "a language says nothing"
    if not re.search(r"[^\W\d_]", "".join(filter(None, said))):
        return None
    if said[1] is None:
        return "only the English is written out"
    if chinese(said[1], marks=True) <= chinese(said[0], marks=True):
        return "the second is not the Chinese one"
    if said[0] is not None and not re.search(r"[A-Za-z]", said[0]):
        return "the first is not the English one"
    return None


def called(node):
    """The name that is called, dots included."""
    return ast.unparse(node.func)


def incomplete(tree):
    """The line and the reason of each text and error that is not in both languages."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        named = {k.arg: k.value for k in node.keywords}
        match called(node), node.args:
            case "Text", []:
                why = None if set(named) <= {None} else "a text's languages are given by place"
            case "Text", [en, zh]:
                why = wrong(en, zh)
            case "Text", _:
                why = "a text has two languages"
            case name, [en] if name in ERRORS:
                why = wrong(en, named["zh"]) if "zh" in named else "an error has two languages"
            case name, _ if name in ERRORS:
                why = "an error has an English text and zh="
            case _:
                continue
        if why:
            yield node.lineno, why


def split(asset):
    """The texts of a template or a script, as Python writes them, and all that stands around them."""
    name = "say" if asset.suffix == ".js" else "Text"
    texts = []

    def text(found):
        call = re.sub("`([^`]*)`", r'f"\1"', found[1]).replace("${", "{").replace("~", "+")
        texts.append(f"Text{call}")
        return ""

    call = rf'\b{name}(\((?:"[^"]*"|`[^`]*`|[^"`()])*\))'
    rest = re.sub(call, text, asset.read_text(encoding="utf-8"))
    return texts, rest


def pair(first, second):
    """Whether two expressions are a text in two languages; patterns are none."""
    said = words(first), words(second)
    if None in said or any(re.search(r"[\\|]", text) for text in said):
        return False
    one, other = sorted(said, key=chinese)
    return bool(chinese(other) and not chinese(one) and re.search(r"[A-Za-z]", one))


def mixed(text):
    """Whether a string says it in both languages; a pattern, or code with a comment, does not."""
    if re.search(r"[\\|]", text or ""):
        return False
    text = re.sub(r".*  # ", "", text or "")
    return bool(
        chinese(text) and re.search(r"[A-Za-z]{2,} [a-z]{2,}|[A-Za-z] ?/ ?[\u4e00-\u9fff]", text)
    )


# What is printed, and the rows and heads of rich's tables
SHOWN = ("print", "Table", "add_column", "add_row", "add_task", "UsageError", "skip", "_refuse")


def in_a_language(node):
    """Whether it has a word that wants a translation; terms, units and markup are none."""
    text = re.sub(r"\[[^]]*\]", "", words(node) or "")
    return bool(chinese(text) or re.search(r"[a-z]{4,}", text))


def meant(tree):
    """What stands in texts, in errors, as a ``zh=`` and as a docstring: an English name may be in it."""
    for node in ast.walk(tree):
        match node:
            case ast.Call() if called(node) in {"Text", *ERRORS}:
                yield from ast.walk(node)
            case ast.keyword(arg="zh") | ast.Expr(value=ast.Constant()):
                yield from ast.walk(node)


def other_shapes(tree):
    """Where two languages are told in another shape than a ``Text``."""
    right = set(meant(tree))
    for node in ast.walk(tree):
        if node not in right and mixed(words(node)):
            yield node.lineno, ast.unparse(node)[:80]
        match node:
            case ast.Tuple(elts=[first, second]) | ast.List(elts=[first, second]):
                found = pair(first, second)
            case ast.IfExp(body=first, orelse=second):
                found = pair(first, second)
            case ast.Dict(keys=keys):
                found = {"zh", "zh-TW"} & {words(key) for key in keys if key}
            case ast.Call() if called(node).rpartition(".")[2] in SHOWN and node not in right:
                found = any(map(in_a_language, node.args))
            case ast.keyword(arg="help" | "title", value=value):
                found = in_a_language(value)
            case ast.Call() if called(node) != "Text":
                found = any(map(pair, node.args, node.args[1:]))
            case ast.arg(arg="lang" | "language", annotation=ast.expr() as kind):
                found = ast.unparse(kind) != "Language"
            case _:
                continue
        if found:
            yield node.lineno, ast.unparse(node)[:80]


@pytest.mark.parametrize("module", MODULES)
def test_no_text_lacks_a_language_and_no_other_shape_is_left(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    assert list(incomplete(tree)) == []
    assert list(other_shapes(tree)) == []


@pytest.mark.parametrize("asset", ASSETS)
def test_no_text_of_the_pages_lacks_a_language(asset):
    texts, rest = split(ASSETS[asset])
    assert list(incomplete(ast.parse("\n".join(texts)))) == []
    assert not re.search(r"\b(Text|say)\([^)]*,", rest)
    assert chinese(rest.replace('<span lang="en">中文</span>', ""), marks=True) == 0  # its own name


def test_there_are_texts_to_look_at():
    assert sum(len(split(path)[0]) for path in ASSETS.values()) > 50
    source = "".join(path.read_text(encoding="utf-8") for path in MODULES.values())
    assert source.count("Text(") > 400
    assert len(ERRORS) > 10


@pytest.mark.parametrize(
    "line",
    [
        'Text("only English")', 'Text("Look.", "")', 'Text("", "請看。")', 'Text("請看。", "Look.")',
        'Text("Look.", "Look.")', 'Text(f"{n} files", f"{n} files")', 'Text("Look.", zh)',
        'Text(zh="請看。", en="Look.")', 'raise DataError("Look.")', 'DataError("Look.", zh="")',
        'DataError("Look.", zh="Look.")', 'DataError("Look.", "請看。")', 'Text(*("Look.", "請看。"))',
    ],
)  # fmt: skip
def test_what_lacks_a_language_is_found(line):
    assert list(incomplete(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    [
        'x = "Look.", "請看。"', 'x = ("請看。", "Look.")', 'say("請看。", "Look.")', 'print("請看。\\nLook.")',
        'console.print(f"請看 {x}。" "Look.")', 'x = {"en": "Look.", "zh-TW": "請看。"}',
        'x = "Look." if lang == "en" else "請看。"', "def f(lang: str): ...",
        'console.print(f"resumed after epoch {n}")', 'Table("layer")', 'table.add_row("total", x)', 'f(help="a hand-in")',
        'x = "Look. 請看。 Look here."', 'f(f"Larger than {n} MB / 超過 {n} MB")', 'x = "verbs / 指令"',
        'raise pytest.UsageError(f"{x} is no check. 沒有 {x}。")', 'raise pytest.UsageError("There is no file.")',
        'pytest.skip("blocked")', 'bar.add_task("evaluate")', '_refuse(send, 404, "Not found")',
    ],
)  # fmt: skip
def test_another_shape_is_found(line):
    assert list(other_shapes(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    [
        'Text("Look.", "請看。")', 'Text(f"{a}, {b}", f"{a}、{b}")', 'Text(known.en, known.zh)', "Text()",
        'Text("a: " + ", ".join(x), "項目：" + "、".join(x))', 'DataError(f"{x} is gone.", zh=f"{x} 不見了。")',
        're.compile("量化|quanti[sz]", re.I)', 'x = ("%", "％")',
        'console.print(f"[green]✓[/] {title} {size} MB, FP32 {other} MB")', 'Table(str(Text("layer", "層")), title="SQNR (dB)")',
        'Text("under a heading 心得 at the end", "標題為「心得」")', '@check(zh="逐通道（per channel）量化")\ndef f(): ...',
        'def f():\n    """Such as this: 心得."""', 'x = "state = {k: v in state}  # 只取張量"', 'x = "FP32 時間 / INT8 時間"',
    ],
)  # fmt: skip
def test_what_is_right_is_let_through(line):
    tree = ast.parse(line)
    assert not [*incomplete(tree), *other_shapes(tree)]


def test_what_a_comparison_says_is_filled_in_alike():
    tree = ast.parse(MODULES["compare.py"].read_text(encoding="utf-8"))
    texts = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and called(n) == "Text"]
    assert len(texts) == 9
    for text in texts:
        en, zh = (
            sorted(ast.unparse(n) for n in ast.walk(arg) if isinstance(n, ast.FormattedValue))
            for arg in text.args
        )
        assert en == zh


def test_a_text_in_either_language_and_in_both():
    text = Text("Look.", "請看。")
    assert [text.say(language) for language in LANGUAGES] == ["請看。", "Look."]
    assert str(text) == "請看。\nLook."
    assert text
    assert not NOTHING
    assert Text.of(text) is text
    assert Text.of(13) == Text("13", "13")


def test_an_error_holds_one_text():
    error = errors.DataError("Look.", zh="請看。")
    assert error.text == Text("Look.", "請看。")
    assert str(error) == str(error.text)


@given(st.text(st.characters(exclude_categories=()), max_size=20))
def test_a_text_can_be_written_in_every_encoding(text):
    """And no terminal obeys it: what cannot be shown is escaped."""
    for made in (Text.of(text), Text(text, text)):
        shown = str(made).encode("utf-8").decode("utf-8")
        assert shown == f"{printable(text)}\n{printable(text)}"
        assert {unicodedata.category(c) for c in shown if c not in "\t\n"}.isdisjoint(("Cc", "Cs"))
    plain = re.sub(r"[^\x20-\x7e]", "", text)
    assert printable(plain) == plain
