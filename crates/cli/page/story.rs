//! When what happened: the events of a run as tries of its stages, in seconds after its start.

use std::collections::HashMap;
use std::time::SystemTime;

use gazal_engine::{Outcome, Record, RunEvent, Told};
use gazal_store::parse_rfc3339;

/// A try of a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Try {
    pub start: f64,
    /// The last moment that is known of it, where it has no end.
    pub end: f64,
    pub ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It runs, or was running when its runner was killed.
    Open,
    Well,
    Failed,
    /// The run was stopped.
    Stopped,
}

/// A run in time.
#[derive(Default)]
pub(crate) struct Story {
    /// Stage to its tries and the time when it was done.
    pub tries: HashMap<String, (Vec<Try>, Option<f64>)>,
    pub end: f64,
}

impl Story {
    /// `now` is the end of what is still running. Clocks may be set back: time never goes backwards here.
    pub fn of(told: Vec<Told>, record: &Record, now: SystemTime) -> Story {
        let began = told.first().map_or(record.header.started.as_str(), |first| first.at.as_str());
        let began = parse_rfc3339(began).unwrap_or(now);
        let after = |moment: SystemTime| moment.duration_since(began).unwrap_or_default().as_secs_f64();
        let mut story = Story::default();
        for Told { at, event } in told {
            let at = parse_rfc3339(&at).map_or(story.end, after).max(story.end);
            story.end = at;
            story.hear(event, at);
        }
        if record.alive {
            story.end = after(now).max(story.end);
        }
        let end = story.end;
        let open = story.tries.values_mut().flat_map(|(tries, _)| tries).filter(|one| one.ending == Ending::Open);
        open.for_each(|one| one.end = end);
        story
    }

    fn hear(&mut self, event: RunEvent, at: f64) {
        match event {
            RunEvent::Start { name, .. } => {
                self.tries.entry(name).or_default().0.push(Try { start: at, end: at, ending: Ending::Open });
            }
            RunEvent::Retry { name, .. } => self.close(&name, at, Ending::Failed),
            RunEvent::Stage { name, state, .. } => {
                let ending = match state {
                    Outcome::Hit | Outcome::Ran => Ending::Well,
                    Outcome::Failed => Ending::Failed,
                    Outcome::Blocked | Outcome::Skipped | Outcome::Interrupted => Ending::Stopped,
                };
                self.close(&name, at, ending);
                self.tries.entry(name).or_default().1 = Some(at);
            }
            _ => {}
        }
    }

    fn close(&mut self, name: &str, at: f64, ending: Ending) {
        let last = self.tries.get_mut(name).and_then(|(tries, _)| tries.last_mut());
        if let Some(last) = last.filter(|last| last.ending == Ending::Open) {
            (last.end, last.ending) = (at, ending);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{from_value, json};

    use super::*;

    fn story(events: &serde_json::Value, alive: bool) -> Story {
        let told = events.as_array().unwrap().iter().map(|event| Told {
            at: format!("2026-01-01T00:00:{}Z", event["at"].as_str().unwrap()),
            event: from_value(event.clone()).unwrap(),
        });
        let header = json!({"run": "r", "pipeline": "p", "file": "f", "program": "", "host": "", "started": "",
            "requested": {"profiles": [], "set": [], "backend": [], "targets": []}, "finished": null, "summary": null});
        let record = Record { header: from_value(header).unwrap(), stages: Vec::new(), alive };
        Story::of(told.collect(), &record, parse_rfc3339("2026-01-01T00:00:40Z").unwrap())
    }

    fn start(name: &str, at: &str) -> serde_json::Value {
        json!({"event": "start", "name": name, "kind": "exec", "key": "0".repeat(64), "causes": [], "log": "", "at": at})
    }

    fn stage(name: &str, state: &str, at: &str) -> serde_json::Value {
        json!({"event": "stage", "name": name, "state": state, "seconds": 1.0, "key": null, "error": null, "at": at})
    }

    #[test]
    fn tries_have_their_times() {
        let retry =
            json!({"event": "retry", "name": "a", "error": "", "attempt": 2, "of": 2, "pause": 1.0, "at": "12.500"});
        let events = json!([start("a", "10.000"), retry, start("a", "14.000"), stage("a", "ran", "15.000")]);
        let told = story(&events, false);
        let (tries, done) = &told.tries["a"];
        let expected = [(0.0, 2.5, Ending::Failed), (4.0, 5.0, Ending::Well)];
        assert_eq!(*tries, expected.map(|(start, end, ending)| Try { start, end, ending }));
        assert_eq!((*done, told.end), (Some(5.0), 5.0));
    }

    #[test]
    fn what_has_no_end_goes_on_until_now_or_until_its_runner_died() {
        let events = json!([start("a", "10.000"), start("b", "11.000"), stage("b", "failed", "13.000")]);
        assert_eq!(story(&events, false).tries["a"].0[0].end, 3.0);
        assert_eq!(story(&events, true).tries["a"].0[0].end, 30.0);
    }

    #[test]
    fn a_clock_that_goes_back_does_not_turn_bars_around() {
        let events = json!([start("a", "30.000"), stage("a", "ran", "10.000"), stage("b", "skipped", "31.000")]);
        let told = story(&events, false);
        assert_eq!(told.tries["a"].0, [Try { start: 0.0, end: 0.0, ending: Ending::Well }]);
        assert_eq!(told.tries["b"], (Vec::new(), Some(1.0)));
    }
}
