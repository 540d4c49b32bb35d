"""src/ keeps the order that rules.py describes; and each of its rules finds what it is for."""

import pathlib

import pytest
import rules
from modules import Crate

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "src"


@pytest.fixture(scope="module")
def siskin():
    return Crate(SOURCE)


def test_every_module_is_read(siskin):
    unread = set(SOURCE.rglob("*.rs")) - set(siskin.files()) - set(SOURCE.glob("build/*.rs"))
    assert siskin.missing == []
    assert [file for file in unread if siskin.of_tests.isdisjoint({file.stem, *file.relative_to(SOURCE).parts})] == []
    assert len(siskin.uses) > 1000


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps(siskin, rule):
    broken = list(dict.fromkeys(rule(siskin)))
    assert not broken, f"{rule.__doc__}\n" + "\n".join(broken)


# A small house that keeps every rule.
HOUSE = {
    "lib.rs": """
        //! - [`api`]: asks\n//! - [`app`]: does\n//! - [`redis`]: connects\n//! - [`store`], [`ground`]: below
        mod api; mod app; #[cfg(feature = "redis")] mod redis; mod store; mod ground;""",
    "main.rs": "//! The command line.\nfn main() { siskin::start() }",
    "api.rs": "//! Asks.\nuse crate::{app::{self, Notes as N}, store::get}; fn ask(owner: T) { app::go(N); owner\n.spawn(\"ask\", x) }",
    "app/mod.rs": "//! Does.\nmod notes; pub mod chats; pub use notes::Notes; pub struct State; pub fn go() {}",
    "app/notes.rs": "//! Notes.\nuse super::State; use crate::store; pub struct Notes; // use crate::api::ask;",
    "app/chats.rs": '//! Chats.\nuse super::{State, Notes}; const A: &str = "use crate::api::ask; x.spawn(y)"; const B: char = \'"\';',
    "redis/mod.rs": '//! Connects.\n#[cfg(feature = "redis")] use crate::ground::now;',
    "store/mod.rs": """
        //! Keeps.
        pub fn get() { smol::unblock(work) }
        impl Session { fn unblock(&self) {} fn go(&self) { self.unblock() } }
        #[cfg(test)] mod tests { use crate::api::ask; fn f() { executor.spawn(f) } }""",
    "ground/mod.rs": "//! Below.\npub mod tasks; pub fn now() {}",
    "ground/tasks/mod.rs": "//! Tasks.\nfn spawn(executor: &E) { executor.spawn(work) }",
}


@pytest.fixture
def broken(tmp_path):
    """What a rule finds in the small house after changes: files by name."""

    def look(rule, **changes):
        for name, text in {**HOUSE, **{name.replace("__", "/") + ".rs": text for name, text in changes.items()}}.items():
            file = tmp_path / "src" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(line.strip() for line in text.strip().splitlines()))
        return list(rule(Crate(tmp_path / "src")))

    return look


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_small_house_keeps(broken, rule):
    assert broken(rule) == []


@pytest.mark.parametrize(
    "text",
    [
        "use crate::api::ask;",
        "use crate::{ground::now, api::{self}};",
        "pub use crate::api as other;",
        "fn f() { crate::api::ask() }",
        "fn f() { super::super::api::ask() }",
        "/* a /* b */ c */ use crate::api::ask;",
        '#[cfg(test)] mod tests { fn f() {} }\nuse crate::api::ask;',
        'const A: &str = r#"""#; fn f<\'a>(x: &\'a str) { crate::api::ask(\'"\') }',
        "mod inside { fn f() { super::super::super::api::ask() } }",
    ],
)
def test_an_import_that_points_up_is_found(broken, text):
    found = broken(rules.imports_point_down, app__notes=f"//! Notes.\n\n{text}")
    assert len(found) == 1 and "app names api, which is above it" in found[0]
    assert found[0].startswith(f"src/app/notes.rs:{3 + text.count(chr(10))}:")


def test_an_import_of_a_neighbour_is_found(broken):
    assert broken(rules.imports_point_down, redis__mod="use crate::store::get;") == ["src/redis/mod.rs:1: redis names store beside it"]


def test_what_the_parent_takes_in_is_followed_to_its_home(broken):
    up = broken(rules.imports_point_down, ground__mod="pub mod tasks; pub use crate::app::Notes;", store__mod="use crate::ground::Notes;")
    assert up == ["src/store/mod.rs:1: store names app, which is above it", "src/ground/mod.rs:1: ground names app, which is above it"]


def test_a_module_that_nobody_gave_a_floor_is_found(broken):
    lib = HOUSE["lib.rs"] + " mod shed;"
    assert broken(rules.imports_point_down, lib=lib, shed="") == ["shed: on no floor of the table"]


@pytest.mark.parametrize(
    "changes, size",
    [
        # Siblings, named in full, through their parent, and through what it shows.
        ({"app__notes": "use crate::app::chats::A;"}, 2),
        ({"app__notes": "use super::chats; pub struct Notes;", "app__chats": "use super::Notes;"}, 2),
        ({"app__notes": "pub struct Notes; fn f() { super::chats::all() }", "app__chats": "use crate::app::*; fn f(n: super::Notes) {}"}, 2),
        # Three in a row, across folders.
        ({"app__notes": "use crate::store::get; pub struct Notes;", "store__mod": "use crate::ground::tasks;", "ground__tasks__mod": "use crate::app::Notes;"}, 3),
        # A parent that calls its child, which goes through another module to the parent.
        ({"app__mod": "mod notes; pub mod chats; pub use notes::Notes; pub struct State; fn f() { notes::f() }",
          "app__notes": "use crate::store::get; pub struct Notes;", "store__mod": "use crate::app::State; pub fn get() {}"}, 3),
    ],
)
def test_a_circle_is_found(broken, changes, size):
    found = broken(rules.no_circle_of_files, **changes)
    assert len(found) == 1 and found[0].startswith(f"{size} files name each other: src/")


def test_parent_and_child_are_no_circle(broken):
    parent = "mod notes; pub mod chats; pub use notes::Notes; pub struct State; fn f() { notes::save(chats::all()) }"
    assert broken(rules.no_circle_of_files, app__mod=parent) == []


def test_the_feature_elsewhere_is_found(broken):
    text = '//! Asks.\n#[cfg(all(unix, not(feature = "redis")))]\nfn f() {}\nfn g() { cfg!(feature="redis") }'
    found = broken(rules.redis_feature_in_its_place, api=text)
    assert found == ['src/api.rs:2: feature = "redis"', 'src/api.rs:4: feature = "redis"']


def test_the_feature_more_often_than_allowed_in_the_map_is_found(broken):
    once = '\n#[cfg(feature = "redis")] fn f() {}'
    assert broken(rules.redis_feature_in_its_place, lib=HOUSE["lib.rs"] + once) == []
    assert len(broken(rules.redis_feature_in_its_place, lib=HOUSE["lib.rs"] + 3 * once)) == 4


@pytest.mark.parametrize(
    "text",
    ["self.executor.spawn(f).detach()", "house\n.executor()\n.spawn(f)", "smol::spawn(f)", "std::thread::spawn(f)", "pool(3).spawn(f)", "smol::unblock(f)", "unblock(f)"],
)
def test_work_without_an_owner_is_found(broken, text):
    assert len(broken(rules.tasks_have_an_owner, api=f"fn f() {{ {text} }}")) == 1


def test_a_long_file_is_found(broken):
    most = rules.MOST_LINES
    assert broken(rules.files_are_short, api="\n".join(["//"] * most)) == []
    assert broken(rules.files_are_short, api="\n".join(["//"] * (most + 1))) == [f"src/api.rs: {most + 1} lines"]


@pytest.mark.parametrize("text", ["fn f() {}", "// Asks.\nfn f() {}", "/// Asks.\nfn f() {}", "#![allow(x)]\n//! Asks."])
def test_a_file_that_does_not_say_its_job_is_found(broken, text):
    assert broken(rules.files_say_their_job, api=text) == ["src/api.rs: does not begin with `//! `"]


def test_a_wrong_map_is_found(broken):
    lib = HOUSE["lib.rs"].replace("[`api`]", "[`shed`]")
    found = broken(rules.map_is_complete, lib=lib)
    assert found == ["src/lib.rs: the map lacks api", "src/lib.rs: the map has shed, which is no module"]


def test_modules_of_tests_alone_need_no_place_on_the_map(broken):
    lib = HOUSE["lib.rs"] + "\n#[cfg(test)]\nmod random;"
    assert broken(rules.map_is_complete, lib=lib, random="") == []
