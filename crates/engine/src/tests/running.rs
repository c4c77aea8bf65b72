use std::fs;
use std::thread;

use super::Space;
use crate::{EngineError, Outcome};

const HEAD: &str = "[pipeline]\nname = 'p'\n";

fn failing(mode: &str) -> String {
    format!(
        "{HEAD}[stages.a]\nkind = 'make'\n[stages.bad]\nkind = 'join'\ninputs = {{ parts = 'a' }}\nparams = {{ mode = '{mode}' }}\n\
         [stages.after]\nkind = 'join'\ninputs = {{ parts = ['bad', 'a'] }}\n[stages.good]\nkind = 'join'\ninputs = {{ parts = 'a' }}\n"
    )
}

#[test]
fn a_failure_blocks_what_needs_it_and_nothing_else() {
    for mode in ["fail", "panic"] {
        let told = Space::new().run(&failing(mode));
        let outcomes: Vec<Outcome> = ["a", "bad", "after", "good"].map(|name| told.outcomes[name]).to_vec();
        assert_eq!(outcomes, [Outcome::Ran, Outcome::Failed, Outcome::Blocked, Outcome::Ran]);
        assert!(told.errors["bad"].contains("as it was told"), "{}", told.errors["bad"]);
        assert_eq!((told.summary.ran, told.summary.failed, told.summary.blocked), (2, 1, 1));
    }
}

#[test]
fn inputs_come_in_the_order_of_the_file() {
    let space = Space::new();
    let make = |name: &str| format!("[stages.{name}]\nkind = 'make'\nparams = {{ text = '{name}' }}\n");
    let text =
        format!("{HEAD}{}{}[stages.j]\nkind = 'join'\ninputs = {{ parts = ['b', 'a'] }}\n", make("a"), make("b"));
    space.run(&text);
    assert_eq!(space.output(&text, "j"), "{\"text\":\"b\"}\n{\"text\":\"a\"}\n");
}

#[test]
fn force_runs_what_is_there_and_nothing_after_it() {
    let mut space = Space::new();
    let text = failing("");
    space.run(&text);
    space.force = vec!["a"];
    let told = space.run(&text);
    assert_eq!((told.outcomes["a"], told.outcomes["good"]), (Outcome::Ran, Outcome::Hit));
    assert_eq!(told.causes["a"][0].field, "forced");
}

#[test]
fn a_stopped_run_goes_on_from_its_checkpoint() {
    let mut space = Space::new();
    let text = failing("wait");
    space.stop_at = Some("bad");
    let told = space.run(&text);
    assert_eq!((told.outcomes["bad"], told.outcomes["after"]), (Outcome::Interrupted, Outcome::Skipped));
    (space.cancel, space.stop_at) = (crate::CancelToken::default(), None);
    let told = space.run(&text);
    assert_eq!((told.outcomes["bad"], told.outcomes["after"]), (Outcome::Ran, Outcome::Ran));
    assert_eq!(fs::read_dir(space.path("store/wip")).unwrap().count(), 0);
}

#[test]
fn the_memo_is_in_no_key_and_outlives_a_failure() {
    let space = Space::new();
    let text = |answer: &str, fail: bool| {
        format!("{HEAD}[stages.a]\nkind = 'remember'\nparams = {{ answer = '{answer}', fail = {fail} }}\n")
    };
    assert_eq!(space.run(&text("first", true)).outcomes["a"], Outcome::Failed);
    assert_eq!(space.run(&text("second", false)).outcomes["a"], Outcome::Ran);
    assert_eq!(space.output(&text("second", false), "a"), "first");
    assert_eq!(space.run(&text("second", false)).outcomes["a"], Outcome::Hit);
}

#[test]
fn paths_in_a_list_of_tables_are_in_the_key() {
    let space = Space::new();
    let text = format!(
        "{HEAD}[stages.a]\nkind = 'remember'\n\
         params = {{ answer = '', parts = [{{ files = ['b.*'] }}, {{ files = ['a.txt'] }}] }}\n"
    );
    space.write("a.txt", "one");
    space.write("b.txt", "two");
    assert_eq!(space.run(&text).outcomes["a"], Outcome::Ran);
    assert_eq!(space.output(&text, "a"), "twoone");
    assert_eq!(space.run(&text).outcomes["a"], Outcome::Hit);
    space.write("a.txt", "other");
    let plan = space.plan(&text);
    assert_eq!(plan.stages[0].causes[0].field, "params.parts[].files.a.txt");
    assert_eq!(space.run(&text).outcomes["a"], Outcome::Ran);
}

#[test]
fn a_damaged_input_is_made_again() {
    let space = Space::new();
    let text = failing("");
    space.run(&text);
    let key = space.plan(&text).stages[0].key.unwrap();
    let artifact = space.store().receipt(&key).unwrap().unwrap().outputs["out"].artifact;
    let blob = space.store().tree(&artifact).unwrap().files().next().unwrap().0.hex();
    let path = space.path("store/blobs").join(&blob[..2]).join(&blob);
    fs::remove_dir_all(space.path("store/views")).unwrap_or_default();
    overwrite_keeping_the_time(&path);
    let told = space.run(&text.replace("params = { mode = '' }", "params = { mode = 'x' }"));
    let outcomes = ["a", "bad", "after", "good"].map(|name| told.outcomes[name]);
    assert_eq!(outcomes, [Outcome::Ran, Outcome::Ran, Outcome::Hit, Outcome::Hit]);
    assert!(space.store().verify().unwrap().is_empty());
}

/// As a failing disk does it: other bytes, nothing else changed.
fn overwrite_keeping_the_time(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let before = fs::metadata(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let bytes = vec![b'x'; before.len() as usize];
    fs::write(path, bytes).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    fs::set_permissions(path, before.permissions()).unwrap();
}

#[test]
fn what_stands_in_the_way_is_said_before_anything_runs() {
    let space = Space::new();
    let text = format!(
        "{HEAD}[stages.a]\nkind = 'make'\n[stages.l]\nkind = 'later'\n[stages.c]\nkind = 'compute'\ninputs = {{ data = 'a' }}\nbackend = 'cuda'\n"
    );
    let Err(EngineError::Wrong(mistakes)) = space.try_run(&text) else { panic!("it ran") };
    let messages: Vec<&str> = mistakes.iter().map(|mistake| mistake.message.as_str()).collect();
    assert_eq!(messages, ["it comes later", "no CUDA here"]);
    assert_eq!(space.store().receipts().count(), 0);
}

#[test]
fn a_source_that_changes_while_it_is_read_is_not_kept() {
    let space = Space::new();
    space.write("notes.txt", "first");
    let told = space.run(&format!("{HEAD}[stages.t]\nkind = 'touch'\nparams = {{ path = 'notes.txt' }}\n"));
    assert!(told.errors["t"].contains("changed while"), "{}", told.errors["t"]);
    assert_eq!(space.store().receipts().count(), 0);
}

#[test]
fn a_source_is_its_content_under_its_name() {
    let space = Space::new();
    space.write("notes.txt", "first");
    let text = format!("{HEAD}[stages.s]\nkind = 'source'\nparams = {{ path = 'notes.txt' }}\n");
    assert_eq!(space.run(&text).outcomes["s"], Outcome::Ran);
    assert_eq!(space.output(&text, "s"), "first");
    space.write("notes.txt", "first");
    assert_eq!(space.run(&text).outcomes["s"], Outcome::Hit);
    space.write("notes.txt", "second");
    let told = space.run(&text);
    assert_eq!(told.causes["s"][0].field, "params.path.notes.txt");
}

#[test]
fn two_runs_at_once_do_the_work_once() {
    let space = Space::new();
    let text = format!("{HEAD}[stages.a]\nkind = 'make'\nparams = {{ millis = 300 }}\n");
    let ran: usize = thread::scope(|scope| {
        let runs = [(); 3].map(|()| scope.spawn(|| space.run(&text).summary));
        runs.into_iter().map(|run| run.join().unwrap()).map(|summary| summary.ran).sum()
    });
    assert_eq!(ran, 1);
}

#[test]
fn cpu_slots_bound_what_runs_at_once() {
    let mut space = Space::new();
    space.threads = 4;
    let stage = |index| {
        format!(
            "[stages.s{index}]\nkind = 'make'\nneeds = {{ cpus = 2 }}\nparams = {{ text = '{index}', millis = 40 }}\n"
        )
    };
    let text = format!("{HEAD}{}", (0..6).map(stage).collect::<String>());
    let told = space.run(&text);
    assert_eq!((told.summary.ran, told.most), (6, 2));
}
