"""The checks of the documents find what they are for."""

import documents
import documents_run
import documents_text
import prose
import pytest

HELP = {("serve",): {"--listen", "--help"}, ("check",): {"--help"}, (): {"--help"}}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A tree of one document; a function writes it."""
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    monkeypatch.setattr(documents_text, "ROOT", tmp_path)
    monkeypatch.setattr(prose, "ROOT", tmp_path)
    for name in ("Makefile", "Dockerfile"):
        (tmp_path / name).write_text("")
    for folder in ("gateway/src", "deploy", "modules", ".ci"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "gateway/src/main.rs").write_text('fn main() {}\nconst SERIES: &str = "modelgate_known_total";\n')

    def write(text, name="README.md"):
        (tmp_path / name).write_text(text)

    return write


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](gateway/src/main.rs)", None),
        ("[a](gateway/src/none.rs)", "no such file"),
        ("# One two\n[a](#one-two)", None),
        ("# One two\n[a](#one)", "no such heading"),
        ("[`main`](gateway/src/main.rs)", None),
        ("[`other`](gateway/src/main.rs)", "does not define"),
        ("`src/main.rs`", None),
        ("`src/none.rs`", "no such file"),
        ("`modelgate_known_total`", None),
        ("`modelgate_unknown`", "nothing exports"),
        ("`MODELGATE_NOTHING`", "nothing reads"),
        ("```sh\n[a](none.rs)\n```", None),
    ],
)
def test_links(tree, text, problem):
    tree(text)
    found = list(documents.check_links())
    assert [problem in one for one in found] == ([True] if problem else []), found


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("modelgate serve --listen 127.0.0.1:0", None),
        ("modelgate check --listen 127.0.0.1:0", "takes no --listen"),
        ("modelgate sreve --listen 127.0.0.1:0", "no command sreve"),
        ("--listen", None),
        ("--lisen", "nothing takes"),
        ("cargo build --anything", None),
        ("docker run --publish 8080:8080 modelgate serve --lisen x", "takes no --lisen"),
    ],
)
def test_flags(command, problem):
    found = list(documents.check_command("here", command, HELP, set.union(*HELP.values()), set()))
    assert [problem in one for one in found] == ([True] if problem else []), found


def test_answers():
    documents_run.compare('{"a": 1.0}', "json", '{"a":1}')
    documents_run.compare("x\nversion 1 (generation 7) answers\n", "text", "version 1 (generation …) answers")
    for printed, language, expected in (('{"a": 2}', "json", '{"a":1}'), ("x\n", "text", "y"), ("", "json", "{}")):
        with pytest.raises(documents_run.Failure):
            documents_run.compare(printed, language, expected)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.rs", "/// The size of a body.\nfn a() {}\n", 0),
        ("a.rs", "/// What is sent.\nfn a() {}\n", 1),
        ("a.rs", "/// The first line\n/// What goes on.\nfn a() {}\n", 0),
        ("a.rs", "fn a() {} // the model is let go\n", 1),
        ("a.py", '"""How it works."""\n', 1),
        ("a.py", "x = 1  # for whoever reads\n", 1),
        ("a.py", 'x = "What is it?"\n', 0),
        ("README.md", "A sentence. It goes on.\n", 1),
        ("README.md", "# What is it?\n\nA sentence.\n", 0),
        ("README.md", "| a |\n|---|\n| it |\n\n```\nWhat\n```\n", 0),
    ],
)
def test_prose(tree, name, text, found):
    tree(text, name)
    assert len([one for one in prose.findings() if one[0] == name]) == found
