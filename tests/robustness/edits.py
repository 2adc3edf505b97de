"""Random edits of documents, as a careless hand, a bad disk or a stranger makes them."""

import copy
import json
import tomllib

import tomli_w
from hypothesis import strategies as st

RAW = {
    "@deep": "[" * 5000 + "]" * 5000,
    "@huge": "1e999",
    "@nan": "NaN",
    "@twice": '{"a":1,"a":2}',
}
ODD = (
    *RAW,
    None, True, False, 0, 1, -1, 3, 10**9, 2**63, 10**400, 0.5, -0.5, 1e308, 5e-324, "", "x",
    "accuracy", "../..", "/dev/zero", "a\nb", "\x00", "\ud800", "1e999", "NaN", "2026-01-02",
    "0001-01-01T00:00:00+14:00", [], {}, [[]], [{}], {"": None}, {"value": "x"}, [1, "x", None],
)  # fmt: skip


def places(document, at=()):
    """Yield the place of everything in a document."""
    yield at
    if isinstance(document, dict | list):
        pairs = document.items() if isinstance(document, dict) else enumerate(document)
        for key, part in pairs:
            yield from places(part, (*at, key))


def part_of(document, place):
    for key in place:
        document = document[key]
    return document


def nested(value, depth):
    for _ in range(depth):
        value = [value]
    return value


def retyped(value):
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list):
        return {str(key): part for key, part in enumerate(value)}
    return [value] if isinstance(value, str) else str(value)


@st.composite
def edited(draw, document):
    """Return a document with one to three edits."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        *home, key = draw(st.sampled_from(list(places({"": document}))[1:]))
        holder = part_of({"": document}, home)
        how = draw(st.sampled_from(("delete", "replace", "retype", "swap", "nest", "double")))
        if how == "delete" and home:
            del holder[key]
        elif how == "replace":
            value = copy.deepcopy(draw(st.sampled_from(ODD)))
            if home:
                holder[key] = value
            else:
                document = value
        elif home:
            _reshape(draw, document, holder, key, how)
    return document


def _reshape(draw, document, holder, key, how):
    other = part_of(document, draw(st.sampled_from(list(places(document)))))
    if how == "retype":
        holder[key] = retyped(holder[key])
    elif how == "swap":
        holder[key] = copy.deepcopy(other)
    elif how == "nest":
        holder[key] = nested(holder[key], draw(st.sampled_from((1, 2, 40))))
    elif isinstance(holder, list):
        holder.insert(0, copy.deepcopy(holder[key]))
    else:
        holder[f"{key}2"] = copy.deepcopy(holder[key])


@st.composite
def damaged(draw, content):
    """Return bytes of which some are lost, changed, put in, or there twice."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        how = draw(st.sampled_from(("cut", "flip", "insert", "drop", "double")))
        if how == "cut":
            content = content[:at]
        elif how == "flip" and content:
            bit = 1 << draw(st.integers(0, 7))
            content = content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]
        elif how == "insert":
            more = draw(st.sampled_from((b"\xff\xfe", b"[" * 5000, b"\x00", b'"', b"9" * 5000)))
            content = content[:at] + more + content[at:]
        elif how == "drop":
            content = content[:at] + content[at + draw(st.integers(1, 50)) :]
        else:
            content = content[:at] + content[at : at + 50] + content[at:]
    return content


def written(document):
    """Return JSON, with what JSON alone can say in the place of its name."""
    text = json.dumps(document)
    for name, said in RAW.items():
        text = text.replace(json.dumps(name), said)
    return text.encode()


def json_files(content):
    """Return edits of a JSON file: of its structure, or of its bytes."""
    tree = edited(json.loads(content)).map(written)
    return st.one_of(tree, tree, damaged(content))


def toml_files(content):
    """Return edits of a TOML file: of its structure, as far as TOML can say it, or its bytes."""

    def in_toml(made):
        try:
            return tomli_w.dumps(made).encode()
        except (TypeError, ValueError, AttributeError, RecursionError):
            return content[: len(content) // 2]

    tree = edited(tomllib.loads(content.decode())).map(in_toml)
    return st.one_of(tree, tree, damaged(content))


@st.composite
def json_lines(draw, content):
    """Return edits of a file of JSON lines: of one line, of their order, or of its bytes."""
    lines = content.splitlines()
    at, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    how = draw(st.sampled_from(("edit", "edit", "edit", "swap", "bytes")))
    if how == "bytes":
        return draw(damaged(content))
    if how == "swap":
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines[at] = draw(json_files(lines[at]))
    return b"\n".join(lines) + b"\n"
