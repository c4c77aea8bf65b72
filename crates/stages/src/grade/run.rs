//! The stage from its rows to rows with grades, some rows at a time.

use std::collections::BTreeMap;

use gazal_data::{Row, jsonl};
use gazal_stage_api::{Context, Level, StageError};
use gazal_tasks::Item;
use serde_json::{Map, Value, json};

use super::Params;
use super::criterion::Criteria;
use super::reading::{Reading, number, parts, right_option, same};
use crate::respondent::{AT_ONCE, Answer, Respondent, Wish};
use crate::rows::{self, in_training};

/// Where grades stand.
const SCORES: &str = "scores";

pub fn run(params: &Params, context: &mut Context) -> Result<(), StageError> {
    let criteria = Criteria::new(&params.criteria)
        .map_err(|problems| StageError::failed(problems.first().map_or("", |problem| &problem.message)))?;
    let rows = || in_training(context.inputs("rows"), params.limit);
    let total = rows().try_fold(0, |count, row| row.map(|_| count + 1)).map_err(StageError::failed)?;
    let grader = Grader { criteria, respondent: Respondent::open(params.asking(), context)? };
    let mut graded =
        jsonl::Writer::create(&context.output("dataset")?.join("train.jsonl")).map_err(StageError::failed)?;
    let mut replies =
        jsonl::Writer::create(&context.output("report")?.join("replies.jsonl")).map_err(StageError::failed)?;
    let (mut source, mut done, mut tally) = (rows(), 0, Tally::default());
    loop {
        let some = source.by_ref().take(AT_ONCE).collect::<Result<Vec<Row>, _>>().map_err(StageError::failed)?;
        if some.is_empty() {
            break;
        }
        done += some.len() as u64;
        let mut subjects = some.into_iter().map(Subject::new).collect::<Result<Vec<_>, _>>()?;
        for (name, reading) in &grader.criteria.each {
            let grades = grader.grade((name, reading), &subjects, context)?;
            for (subject, (score, reply)) in subjects.iter_mut().zip(grades) {
                let said = json!({ "id": subject.id, "criterion": name, "score": score, "reply": reply });
                replies.write(&said).map_err(StageError::failed)?;
                tally.add(name, score);
                subject.scores.insert(name.clone(), score.into());
            }
        }
        for subject in subjects {
            graded.write(&subject.row()).map_err(StageError::failed)?;
        }
        context.progress(done, total, "rows", &[("cost", grader.respondent.cost())]);
    }
    graded.finish().map_err(StageError::failed)?;
    replies.finish().map_err(StageError::failed)?;
    let respondent = &grader.respondent;
    let report = json!({
        "judge": respondent.name(),
        "criteria": tally.report(),
        "spent": respondent.spent(),
        "cost": respondent.cost(),
    });
    let path = context.output("report")?.join("grade.json");
    std::fs::write(&path, format!("{report:#}\n")).map_err(StageError::io(&path))?;
    tally.check(params, context)
}

/// A row that is graded.
struct Subject {
    id: String,
    row: Row,
    /// With its parts, as templates see it.
    view: Row,
    conclusion: String,
    scores: Map<String, Value>,
}

impl Subject {
    /// # Errors
    /// A column `scores` that holds no scores.
    fn new(mut row: Row) -> Result<Subject, StageError> {
        let id = rows::id(&row);
        let scores = match row.remove(SCORES) {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(scores)) => scores,
            Some(_) => return Err(StageError::failed(format!("row {id}: `{SCORES}` is no object of scores by name"))),
        };
        let (reasoning, conclusion) = parts(row.get("completion").and_then(Value::as_str).unwrap_or_default());
        let mut view = row.clone();
        for (column, text) in [("reasoning", reasoning), ("conclusion", conclusion.clone())] {
            view.entry(column).or_insert(text.into());
        }
        Ok(Subject { id, row, view, conclusion, scores })
    }

    fn row(mut self) -> Row {
        self.row.insert(SCORES.into(), Value::Object(self.scores));
        self.row
    }

    /// The question that the row is about, where it is about one with a known answer.
    fn item(&self) -> Result<Option<Item>, StageError> {
        self.row.get("item").filter(|item| !item.is_null()).map(|_| rows::item(&self.row, &self.id)).transpose()
    }

    /// The answer that is known to be right, or the row's own.
    fn answer(&self) -> &str {
        self.row.get("answer").and_then(Value::as_str).unwrap_or(&self.conclusion)
    }
}

/// A reply, if it was finished, and what to write down of it.
type Reply = (Option<String>, String);

/// A grade and the reply that it was read from, or why there is none.
type Graded = (Option<f64>, String);

struct Grader<'a> {
    criteria: Criteria,
    respondent: Respondent<'a>,
}

impl Grader<'_> {
    fn grade(
        &self,
        (name, reading): (&str, &Reading),
        subjects: &[Subject],
        context: &Context,
    ) -> Result<Vec<Graded>, StageError> {
        let wish = |subject: &Subject| {
            let question = self.criteria.question(name, &subject.view, &subject.id)?;
            Ok(Wish::new(question, &json!([subject.id, name])))
        };
        let wishes = subjects.iter().map(wish).collect::<Result<Vec<_>, StageError>>()?;
        let replies = self.ask(&wishes, context)?;
        match reading {
            Reading::Number(pattern) => Ok(replies
                .into_iter()
                .map(|(reply, said)| (reply.and_then(|text| number(pattern, &text)), said))
                .collect()),
            Reading::Regenerated => self.compare(subjects, replies, context),
        }
    }

    /// Whether regenerated answers are the rows' own: options by their letters, what is free text by asking once more.
    fn compare(&self, subjects: &[Subject], replies: Vec<Reply>, context: &Context) -> Result<Vec<Graded>, StageError> {
        let (mut grades, mut open, mut wishes) = (Vec::with_capacity(replies.len()), Vec::new(), Vec::new());
        for (at, (subject, (reply, said))) in subjects.iter().zip(replies).enumerate() {
            let score = match (reply, subject.item()?) {
                (None, _) => None,
                (Some(reply), Some(item)) if !item.open => right_option(&item, &reply),
                (Some(reply), _) => {
                    let both = [subject.answer(), reply.trim()];
                    let question = self.criteria.comparison(&subject.view, &subject.id, both)?;
                    wishes.push(Wish::new(question, &json!([subject.id, "same"])));
                    open.push(at);
                    None
                }
            };
            grades.push((score.map(share), said));
        }
        for (at, (reply, said)) in open.into_iter().zip(self.ask(&wishes, context)?) {
            grades[at].0 = reply.and_then(|text| same(&text)).map(share);
            grades[at].1 += &format!("\n\n{said}");
        }
        Ok(grades)
    }

    fn ask(&self, wishes: &[Wish], context: &Context) -> Result<Vec<Reply>, StageError> {
        let answers = self.respondent.answer(wishes, context)?;
        let told = |answer| match answer {
            Ok(Answer { text, cut: false }) => (Some(text.clone()), text),
            Ok(Answer { text, cut: true }) => (None, format!("{text} [cut off at `max_new_tokens`]")),
            Err(why) => (None, format!("[{why}]")),
        };
        Ok(answers.into_iter().map(told).collect())
    }
}

fn share(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// Grades by criterion: how often each was given, and how often none could be read.
#[derive(Default)]
struct Tally(BTreeMap<String, (BTreeMap<String, usize>, f64, usize)>);

impl Tally {
    fn add(&mut self, name: &str, score: Option<f64>) {
        let (given, sum, unread) = self.0.entry(name.to_string()).or_default();
        match score {
            Some(score) => {
                *given.entry(score.to_string()).or_default() += 1;
                *sum += score;
            }
            None => *unread += 1,
        }
    }

    fn report(&self) -> Value {
        let of = |(name, (given, sum, unread)): (&String, &(BTreeMap<String, usize>, f64, usize))| {
            let count: usize = given.values().sum();
            let mean = (count > 0).then(|| sum / count as f64);
            (name.clone(), json!({ "mean": mean, "graded": count, "unread": unread, "given": given }))
        };
        Value::Object(self.0.iter().map(of).collect())
    }

    fn check(&self, params: &Params, context: &mut Context) -> Result<(), StageError> {
        for (name, (given, _, unread)) in &self.0 {
            let all = given.values().sum::<usize>() + unread;
            if *unread == 0 {
                continue;
            }
            let text = format!("of {unread} of {all} replies no grade by `{name}` can be read");
            if *unread as f64 > params.max_unread_ratio * all as f64 {
                let remedy = "look at what the judge says, raise `max_new_tokens`, or raise `max_unread_ratio`; replies are kept";
                return Err(StageError::failed(format!("{text}; {remedy}")));
            }
            context.say(Level::Warning, text);
        }
        Ok(())
    }
}
