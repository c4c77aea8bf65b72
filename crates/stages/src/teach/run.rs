//! The stage from its rows to its examples, some rows at a time: neither rows nor answers are all in memory at once.

use std::collections::BTreeMap;

use gazal_data::{Row, jsonl};
use gazal_stage_api::{Context, Level, StageError};
use serde_json::json;

use super::Params;
use super::example::{Origin, Reason, check, example};
use super::question::{Question, Templates};
use crate::respondent::{AT_ONCE, Answer, Respondent, Wish};
use crate::rows::{self, in_training};

pub fn run(params: &Params, context: &mut Context) -> Result<(), StageError> {
    let templates = Templates::new(&params.templates, &params.prompt)
        .map_err(|problems| StageError::failed(problems.first().map_or("", |problem| &problem.message)))?;
    let rows = || in_training(context.inputs("rows"), params.limit);
    let total = rows().try_fold(0, |count, row| row.map(|_| count + 1)).map_err(StageError::failed)?;
    let teacher = Respondent::open(params.asking(), context)?;
    let mut taught = Taught { params, teacher, counts: BTreeMap::new(), kept: 0 };
    let mut examples =
        jsonl::Writer::create(&context.output("dataset")?.join("train.jsonl")).map_err(StageError::failed)?;
    let mut rejected =
        jsonl::Writer::create(&context.output("rejected")?.join("train.jsonl")).map_err(StageError::failed)?;
    let (mut source, mut done) = (rows(), 0);
    loop {
        let some = source.by_ref().take(AT_ONCE).collect::<Result<Vec<Row>, _>>().map_err(StageError::failed)?;
        if some.is_empty() {
            break;
        }
        for outcome in taught.teach(&templates, &some, context)? {
            match outcome {
                Ok(example) => examples.write(&example),
                Err(row) => rejected.write(&row),
            }
            .map_err(StageError::failed)?;
        }
        done += some.len() as u64;
        context.progress(done, total, "rows", &[("kept", taught.kept as f64), ("cost", taught.teacher.cost())]);
    }
    examples.finish().map_err(StageError::failed)?;
    rejected.finish().map_err(StageError::failed)?;
    taught.finish(context)
}

/// The teacher, and how it goes.
struct Taught<'a> {
    params: &'a Params,
    teacher: Respondent<'a>,
    /// Of rejected answers.
    counts: BTreeMap<Reason, usize>,
    kept: usize,
}

/// A row, the question about it, and which of several answers.
struct Place<'a> {
    row: &'a Row,
    question: Question,
    generation: usize,
}

impl Taught<'_> {
    /// Examples of some rows, or rejected rows.
    fn teach(
        &mut self,
        templates: &Templates,
        rows: &[Row],
        context: &Context,
    ) -> Result<Vec<Result<Row, Row>>, StageError> {
        let mut places = Vec::new();
        for row in rows {
            for question in templates.questions(row, self.params.templates_per_row)? {
                let place = |generation| Place { row, question: question.clone(), generation };
                places.extend((0..self.params.num_generations).map(place));
            }
        }
        let wishes: Vec<Wish> = places.iter().map(Place::wish).collect();
        let answers = self.teacher.answer(&wishes, context)?;
        places.iter().zip(answers).map(|(place, answer)| self.judge(place, answer)).collect()
    }

    fn judge(&mut self, place: &Place, answer: Result<Answer, String>) -> Result<Result<Row, Row>, StageError> {
        let origin = Origin { question: &place.question, teacher: self.teacher.name(), generation: place.generation };
        let item = if self.params.verify { Some(rows::item(place.row, &place.question.parent)?) } else { None };
        let silent = |why| Answer { text: why, cut: false };
        let (reason, answer) = match answer {
            Ok(answer) => (check(self.params, item.as_ref(), &answer), answer),
            Err(why) => (Err(Reason::Silent), silent(why)),
        };
        let mut row = example(place.row, &origin, &answer);
        match reason {
            Ok(()) => self.kept += 1,
            Err(reason) => {
                *self.counts.entry(reason).or_default() += 1;
                row.insert("reason".into(), reason.name().into());
                return Ok(Err(row));
            }
        }
        Ok(Ok(row))
    }

    fn finish(self, context: &mut Context) -> Result<(), StageError> {
        let rejected: usize = self.counts.values().sum();
        let named: BTreeMap<&str, usize> = self.counts.iter().map(|(reason, count)| (reason.name(), *count)).collect();
        let report = json!({
            "teacher": self.teacher.name(),
            "kept": self.kept,
            "rejected": named,
            "spent": self.teacher.spent(),
            "cost": self.teacher.cost(),
        });
        let path = context.output("report")?.join("teach.json");
        std::fs::write(&path, format!("{report:#}\n")).map_err(StageError::io(&path))?;
        if rejected == 0 {
            return Ok(());
        }
        let reasons: Vec<String> = named.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let all = rejected + self.kept;
        let text = format!("{rejected} of {all} answers are rejected: {}", reasons.join(", "));
        if self.kept == 0 || rejected as f64 > self.params.max_rejected_ratio * all as f64 {
            let remedy = "change the templates or the checks, or raise `max_rejected_ratio`; the answers are kept";
            return Err(StageError::failed(format!("{text}; {remedy}")));
        }
        context.say(Level::Warning, text);
        Ok(())
    }
}

impl Place<'_> {
    fn wish(&self) -> Wish {
        let Question { parent, template, messages, .. } = &self.question;
        Wish::new(messages.clone(), &json!([parent, template, self.generation]))
    }
}
