"""The site that ``make docs`` builds: without a warning, whole, complete, and shown by a browser with no network."""

from __future__ import annotations

import ast
import html
import importlib
import json
import os
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest

filelock = pytest.importorskip("filelock", reason="filelock is not installed")
pytest.importorskip("sphinx", reason="Sphinx, of the extra docs, is not installed")

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGES = [
    "nid_plugins",
    "nid_plugins.adapting",
    "nid_plugins.callbacks",
    "nid_plugins.crosses",
    "nid_plugins.detection",
    "nid_plugins.domains",
    "nid_plugins.experiment",
    "nid_plugins.readers",
    "nid_plugins.report",
    "nid_plugins.simulate",
    "nid_plugins.testing",
]
OURS = {"nid_plugins", "nid_torch", "nid_lightning", "nid_deepctr_torch", "nid_keras", "nid_deepctr"}
NAMED = {"py:class", "py:exception", "py:function"}
GENERATED = {"genindex", "py-modindex", "search"}


class Links(HTMLParser):
    """The links of a page, and whatever it loads to be shown."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "a":
            self.links.append(values.get("href") or "")
        elif tag == "link":
            if values.get("rel") not in {"canonical", "index", "search", "next", "prev", "author", "license"}:
                self.loaded.append(values.get("href") or "")
        else:
            self.loaded += [values[key] for key in ("src", "srcset", "data", "poster") if values.get(key)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built once for all workers of a run; the one that comes second waits."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder /= "site"
    with filelock.FileLock(f"{folder}.lock"):
        if not folder.exists():
            build = ["-m", "sphinx", "-W", "-n", "-E", "--keep-going", "-q", "-d", f"{folder}-trees"]
            done = subprocess.run(
                [sys.executable, *build, str(DOCS), str(folder)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            (folder / "log.json").write_text(json.dumps([done.returncode, done.stdout + done.stderr]))
    status, said = json.loads((folder / "log.json").read_text())
    return SimpleNamespace(
        folder=folder,
        status=status,
        said=said,
        pages={page.relative_to(folder).as_posix(): page for page in folder.rglob("*.html")},
    )


def documented(site):
    """Return the names of the built inventory that belong to Python, to their kinds."""
    packed = (site.folder / "objects.inv").read_bytes().split(b"\n", 4)[4]
    entries = (
        re.match(r"(.+?) (\S+) -?\d+ ", line) for line in zlib.decompress(packed).decode().splitlines()
    )
    return {entry[1]: entry[2] for entry in entries if entry and entry[2].startswith("py:")}


def sources():
    """Return the names of the source pages."""
    found = {
        page.relative_to(DOCS).with_suffix("").as_posix()
        for kind in ("*.md", "*.rst")
        for page in DOCS.rglob(kind)
    }
    return {name for name in found if not name.startswith("_build/")}


def imported_by_readers():
    """Return the names of ours that the code of README, guides and examples imports, with their modules."""
    codes = [path.read_text("utf-8") for path in (ROOT / "examples").glob("*.py")]
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        codes += re.findall(r"^```python[^\n]*\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return {
        (node.module, alias.name)
        for code in codes
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS
        for alias in node.names
    }


def is_documented(module, name, entries):
    """Whether a name has an entry: under this module, or the same object under the one users are told of."""
    if f"{module}.{name}" in entries:
        return True
    if not module.startswith("nid_plugins"):
        return False  # not worth importing its framework
    value = getattr(importlib.import_module(module), name)
    homes = (
        entry.removesuffix(f".{name}")
        for entry, kind in entries.items()
        if entry.startswith("nid_plugins.") and entry.endswith(f".{name}") and kind in NAMED
    )
    return any(getattr(importlib.import_module(home), name) is value for home in homes)


def test_it_is_built_without_a_warning(site):
    assert site.status == 0, site.said[-4000:]


def test_every_page_is_reached_from_the_first(site):
    reached, ahead = set(), ["index.html"]
    while ahead:
        page = ahead.pop()
        if page in reached:
            continue
        reached.add(page)
        for link in Links(site.pages[page].read_text("utf-8")).links:
            target = urlsplit(link)
            if target.scheme or not target.path.endswith(".html"):
                continue
            path = (site.pages[page].parent / unquote(target.path)).resolve()
            name = path.relative_to(site.folder.resolve()).as_posix()
            assert name in site.pages, f"{page} links to {link}"
            ahead.append(name)
    assert {f"{name}.html" for name in sources()} <= reached
    assert {page.removesuffix(".html") for page in set(site.pages) - reached} <= GENERATED


def test_links_to_headings_lead_to_one(site):
    ids = {
        name: set(re.findall(r'\bid="([^"]+)"', page.read_text("utf-8"))) for name, page in site.pages.items()
    }
    for name, page in site.pages.items():
        for link in Links(page.read_text("utf-8")).links:
            target = urlsplit(link)
            if target.scheme or not target.fragment:
                continue
            path = (page.parent / unquote(target.path)).resolve() if target.path else page.resolve()
            other = path.relative_to(site.folder.resolve()).as_posix()
            assert unquote(target.fragment) in ids[other], f"{name} links to {link}"


def test_the_search_index_knows_every_page(site):
    text = (site.folder / "searchindex.js").read_text("utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").rstrip(";").removesuffix(")"))
    assert set(index["docnames"]) == sources()
    assert {"embed", "baselin"} & set(index["terms"]), "terms are stems of words"


def test_nothing_is_loaded_from_elsewhere(site):
    for name, page in site.pages.items():
        for target in Links(page.read_text("utf-8")).loaded:
            parts = urlsplit(target.split()[0])
            assert parts.scheme in {"", "data"}, f"{name} loads {target}"
            assert not parts.netloc, f"{name} loads {target}"
            if not parts.scheme:
                assert (page.parent / unquote(parts.path)).exists(), f"{name} loads {target}"
    for style in site.folder.rglob("*.css"):
        text = style.read_text("utf-8")
        loaded = re.findall(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""", text)
        assert not [target for target in loaded if re.match(r"https?:|//", target)], style.name


def test_nothing_of_the_machine_is_on_it(site):
    told = {str(ROOT), str(Path.home()), sys.prefix, os.environ["PATH"]} - {"/"}
    for name, page in site.pages.items():
        text = html.unescape(page.read_text("utf-8"))
        assert not [word for word in told if word in text], name
        assert "object at 0x" not in text, name


def test_every_public_name_is_in_the_reference(site):
    entries = documented(site)
    missing = [
        f"{package}.{name}"
        for package in PACKAGES
        for name in importlib.import_module(package).__all__
        if name != "__version__" and not is_documented(package, name, entries)
    ]
    assert not missing


def test_every_hook_error_and_command_is_in_the_reference(site):
    from nid_plugins import errors, hookspecs
    from nid_plugins.plugins import PluginManager

    entries = documented(site)
    hooks = {f"nid_plugins.hookspecs.{name}" for name in vars(hookspecs) if name.startswith("nid_")}
    ours = {
        cls for cls in vars(errors).values() if isinstance(cls, type) and cls.__module__ == errors.__name__
    }
    assert len(hooks) > 10
    assert hooks <= set(entries)
    assert all(is_documented("nid_plugins.errors", cls.__name__, entries) for cls in ours)
    commands = site.pages["api/command_line.html"].read_text("utf-8")
    for command in PluginManager().commands():
        assert f'id="nid-{command.name}"' in commands, command.name


def test_all_that_the_guides_import_is_in_the_reference(site):
    entries = documented(site)
    wanted = imported_by_readers()
    assert len(wanted) > 30
    assert not [f"{m}.{name}" for m, name in sorted(wanted) if not is_documented(m, name, entries)]


def test_classes_of_both_kerases_and_both_lightnings_are_in_the_reference(site):
    entries = documented(site)
    homes = {
        "nid_keras": ("keras3", "tf_keras2"),
        "nid_lightning": ("callbacks", "pl_callbacks"),
    }
    for package, modules in homes.items():
        for module in modules:
            tree = ast.parse((ROOT / "adapters" / package / f"{module}.py").read_text("utf-8"))
            (names,) = (
                ast.literal_eval(node.value)
                for node in tree.body
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            )
            for name in names:
                assert f"{package}.{module}.{name}" in entries


def test_every_example_is_shown(site):
    text = site.pages["examples.html"].read_text("utf-8")
    for example in (ROOT / "examples").glob("*.py"):
        assert f"{example.name}<a" in text, example.name


@pytest.mark.parametrize("width", [1200, 360])
def test_a_browser_shows_it(site, browser, width):
    browser.get_log("browser")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for page in ("index.html", "benchmarks.html", "api/experiment.html", "api/command_line.html"):
            browser.get(site.pages[page].as_uri())
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width, page
            assert browser.find_element("css selector", "h1").is_displayed()
        assert browser.get_log("browser") == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_search_finds_a_function_in_the_browser(site, browser):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{site.pages['search.html'].as_uri()}?q=fit_crosses")
    found = WebDriverWait(browser, 20).until(
        lambda window: window.find_elements("css selector", "ul.search li a[href*='nid_plugins.fit_crosses']")
    )
    assert found
