//! Retries, timeouts, pools, gates, conditions, services.

use std::fs;

use super::{Space, Told};
use crate::{Outcome, PlanState};

const HEAD: &str = "[pipeline]\nname = 'p'\n";

impl Space {
    fn flaky(&self, name: &str, params: &str, rest: &str) -> String {
        let tries = self.path(&format!("{name}.tries")).display().to_string();
        format!("[stages.{name}]\nkind = 'flaky'\nparams = {{ tries = '{tries}', {params} }}\n{rest}\n")
    }

    fn tries(&self, name: &str) -> usize {
        fs::read_to_string(self.path(&format!("{name}.tries"))).unwrap_or_default().lines().count()
    }
}

fn outcome(told: &Told, name: &str) -> Outcome {
    told.outcomes[name]
}

#[test]
fn a_failure_is_tried_again_as_often_as_it_may() {
    let space = Space::new();
    let retries = "retries = { max = 3, backoff = '10ms' }";
    let text = format!(
        "{HEAD}{}{}",
        space.flaky("heals", "failures = 2", retries),
        space.flaky("ill", "failures = 9", retries)
    );
    let told = space.run(&text);
    assert_eq!((outcome(&told, "heals"), told.retries["heals"], space.tries("heals")), (Outcome::Ran, 2, 3));
    assert_eq!((outcome(&told, "ill"), told.retries["ill"], space.tries("ill")), (Outcome::Failed, 3, 4));
    assert!(told.errors["ill"].contains("not yet"));
}

#[test]
fn a_stage_that_takes_too_long_writes_a_checkpoint_and_fails() {
    let space = Space::new();
    let text = format!("{HEAD}{}", space.flaky("slow", "endless = true", "timeout = '2s'"));
    let told = space.run(&text);
    assert_eq!(outcome(&told, "slow"), Outcome::Failed);
    assert!(told.errors["slow"].contains("`timeout` (2 s)"), "{}", told.errors["slow"]);
    let told = space.run(&text);
    assert_eq!(outcome(&told, "slow"), Outcome::Ran, "it goes on from its checkpoint");
}

#[test]
fn a_timeout_can_be_tried_again() {
    let space = Space::new();
    let policy = "timeout = '2s'\nretries = { max = 1, backoff = '1ms' }";
    let told = space.run(&format!("{HEAD}{}", space.flaky("slow", "endless = true", policy)));
    assert_eq!((outcome(&told, "slow"), told.retries["slow"]), (Outcome::Ran, 1));
}

#[test]
fn an_allowed_failure_fails_nothing_else() {
    let space = Space::new();
    let after = "[stages.after]\nkind = 'join'\ninputs = { parts = 'ill' }\n[stages.good]\nkind = 'make'\n";
    let text = format!("{HEAD}{}{after}", space.flaky("ill", "failures = 9", "allow_failure = true"));
    let told = space.run(&text);
    let outcomes = ["ill", "after", "good"].map(|name| outcome(&told, name));
    assert_eq!(outcomes, [Outcome::Failed, Outcome::Skipped, Outcome::Ran]);
    assert_eq!((told.summary.failed, told.summary.allowed, told.summary.skipped), (0, 1, 1));
    assert!(told.errors["after"].contains("failed, which is allowed"));
}

#[test]
fn a_run_may_stop_at_its_first_failure() {
    let mut space = Space::new();
    space.threads = 1;
    let text = format!("{HEAD}{}[stages.good]\nkind = 'make'\n", space.flaky("ill", "failures = 9", ""));
    assert_eq!(outcome(&space.run(&text), "good"), Outcome::Ran);
    let text = text.replace("kind = 'make'", "kind = 'make'\nparams = { text = 'other' }");
    space.fail_fast = true;
    assert_eq!(outcome(&space.run(&text), "good"), Outcome::Skipped);
}

#[test]
fn a_pool_bounds_what_runs_at_once() {
    let space = Space::new();
    let stage = |index| {
        format!("[stages.s{index}]\nkind = 'make'\npool = 'one'\nparams = {{ text = '{index}', millis = 20 }}\n")
    };
    let told = space.run(&format!("{HEAD}[pools]\none = 1\n{}", (0..4).map(stage).collect::<String>()));
    assert_eq!((told.summary.ran, told.most), (4, 1));
}

#[test]
fn memory_bounds_what_runs_at_once_and_too_much_is_said_before() {
    let space = Space::new();
    let stage = |index, memory| {
        format!(
            "[stages.s{index}]\nkind = 'make'\nneeds = {{ memory = '{memory}' }}\nparams = {{ text = '{index}', millis = 20 }}\n"
        )
    };
    let told = space.run(&format!("{HEAD}{}", (0..4).map(|index| stage(index, "600MiB")).collect::<String>()));
    assert_eq!((told.summary.ran, told.most), (4, 1));
    let refused = space.try_run(&format!("{HEAD}{}", stage(9, "2GiB"))).map(|_| ()).unwrap_err().to_string();
    assert_eq!(refused, "s9: needs 2048 MiB of memory, and this machine has 1024 MiB");
}

fn measured(acc: f64, conditions: &str) -> String {
    format!(
        "{HEAD}[stages.eval]\nkind = 'measure'\nparams = {{ acc = {acc} }}\n[stages.next]\nkind = 'make'\n{conditions}\n\
         [stages.last]\nkind = 'join'\ninputs = {{ parts = 'next' }}\n"
    )
}

#[test]
fn a_gate_fails_the_stage_behind_it() {
    let space = Space::new();
    let gate = "gate = 'eval.toy.acc >= 0.5'";
    let told = space.run(&measured(0.4, gate));
    assert_eq!(
        ["eval", "next", "last"].map(|name| outcome(&told, name)),
        [Outcome::Ran, Outcome::Failed, Outcome::Blocked]
    );
    assert_eq!(told.errors["next"], "gate: `eval.toy.acc >= 0.5` does not hold: eval has 0.4, against 0.5");
    let told = space.run(&measured(0.6, gate));
    assert_eq!(["eval", "next", "last"].map(|name| outcome(&told, name)), [Outcome::Ran; 3]);
    let told = space.run(&measured(0.4, gate));
    assert_eq!(
        ["eval", "next"].map(|name| outcome(&told, name)),
        [Outcome::Hit, Outcome::Failed],
        "a hit is judged too"
    );
}

#[test]
fn a_gate_on_ones_own_metrics_keeps_the_result_and_blocks_the_rest() {
    let space = Space::new();
    let text = "[stages.eval]\nkind = 'measure'\nmatrix = { acc = [0.4, 0.6] }\nparams = { acc = '${matrix.acc}' }\ngate = 'eval.toy.acc > 0.5'\n\
                [stages.next]\nkind = 'make'\nwhen = 'eval@acc=0.6.toy.acc > 0.5'\n";
    let text = format!("{HEAD}{text}");
    let told = space.run(&text);
    assert_eq!((outcome(&told, "eval@acc=0.4"), outcome(&told, "eval@acc=0.6")), (Outcome::Failed, Outcome::Ran));
    assert_eq!(outcome(&told, "next"), Outcome::Ran);
    assert_eq!(space.store().receipts().count(), 3, "what was measured is kept");
}

#[test]
fn what_is_missing_for_a_condition_is_said() {
    let told = Space::new().run(&measured(0.4, "gate = 'eval.other.acc > 0.5'"));
    assert!(told.errors["next"].contains("has no number `other.acc`; it has toy.acc"), "{}", told.errors["next"]);
}

#[test]
fn a_stage_whose_condition_does_not_hold_is_left_out() {
    let space = Space::new();
    let when = "when = ['eval.toy.acc >= 0.5', 'eval.toy.acc != 7']";
    let states = |acc| space.plan(&measured(acc, when)).stages.iter().map(|stage| stage.state).collect::<Vec<_>>();
    assert_eq!(states(0.4), [PlanState::Run, PlanState::Maybe, PlanState::Run]);
    let told = space.run(&measured(0.4, when));
    assert_eq!(
        ["eval", "next", "last"].map(|name| outcome(&told, name)),
        [Outcome::Ran, Outcome::Skipped, Outcome::Skipped]
    );
    assert_eq!(told.errors["last"], "`next` is left out");
    assert_eq!(states(0.4), [PlanState::Hit, PlanState::Skip, PlanState::Skip]);
    let told = space.run(&measured(0.6, when));
    assert_eq!(["eval", "next", "last"].map(|name| outcome(&told, name)), [Outcome::Ran; 3]);
    assert_eq!(states(0.6), [PlanState::Hit; 3]);
}

/// Serves one text for ever, in the way of HTTP. One test only may use `exec` here: it ends all that this process has
/// started, which in a worker is what it should.
const SERVER: &str = r#"use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $ENV{GAZAL_PORT}, Listen => 5, ReuseAddr => 1) or die; while (my $c = $s->accept) { print $c "HTTP/1.0 200 OK\r\n\r\n$ARGV[0]"; close $c }"#;
const CLIENT: &str = r#"use IO::Socket::INET; my ($a) = $ENV{GAZAL_SERVICE_URL} =~ m{//(.*)}; my $c = IO::Socket::INET->new($a) or die; local $/; my ($t) = <$c> =~ /\r\n\r\n(.*)/; open my $f, ">", "$ENV{GAZAL_OUTPUT_out}/said.txt"; print $f $t"#;

fn served(word: &str) -> String {
    format!(
        "{HEAD}[stages.server]\nkind = 'exec'\nparams = {{ command = ['perl', '-e', '''{SERVER}''', '{word}'] }}\n\
         [stages.asker]\nkind = 'exec'\noutputs = {{ out = 'files' }}\nservice = 'server'\nparams = {{ command = ['perl', '-e', '''{CLIENT}'''] }}\n"
    )
}

#[test]
fn a_service_lives_as_long_as_the_stage_that_needs_it() {
    let space = Space::new();
    let told = space.run(&served("seven"));
    assert_eq!(told.outcomes.iter().collect::<Vec<_>>(), [(&"asker".to_string(), &Outcome::Ran)], "{:?}", told.errors);
    assert_eq!(space.output(&served("seven"), "asker"), "seven");
    assert_eq!(outcome(&space.run(&served("seven")), "asker"), Outcome::Hit);
    let told = space.run(&served("eight"));
    assert_eq!((outcome(&told, "asker"), told.causes["asker"][0].field.as_str()), (Outcome::Ran, "service"));
    assert_eq!(space.output(&served("eight"), "asker"), "eight");
    let text = served("x").replace("listen", "").replacen("perl', '-e'", "sh', '-c', 'exit 3', 'x'", 1);
    let told = space.run(&text);
    assert!(told.errors["asker"].contains("the service `sh` ended with"), "{}", told.errors["asker"]);
}
