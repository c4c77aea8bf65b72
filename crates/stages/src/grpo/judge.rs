//! A language model as a reward, behind an [`Endpoint`].
//!
//! A reply that is no tier, a question that the server finds wrong, or silence after all attempts is a missing reward.
//! The first is kept as well, since asking again would be asking until the judge says something else; the second is not.
//! Three things fail the stage instead, since going on would train on something else than the file says: a server that
//! refuses us, a budget that is spent, and a step of which not one answer could be judged. The stage goes on from its
//! checkpoint.

use gazal_net::Ask;
use gazal_stage_api::{Context, Level, StageError};
use gazal_tasks::answer_part;
use gazal_tasks::rewards::judge::{NO_ANSWER, tier};
use serde_json::json;

use super::rewards::JudgeReward;
use super::scoring::Scored;
use crate::endpoint::Endpoint;

/// The namespace of the memo.
const MEMO: &str = "judge";

pub struct Judge {
    params: JudgeReward,
    name: String,
    endpoint: Endpoint,
}

impl Judge {
    /// # Errors
    /// No address, or a key that is not set.
    pub fn open(params: &JudgeReward, name: &str, at: usize, context: &Context) -> Result<Judge, StageError> {
        let kept = (MEMO, format!("judge-{at}"));
        let endpoint = Endpoint::open(&params.reach(), &format!("reward_funcs[{at}]."), (kept.0, &kept.1), context)?;
        Ok(Judge { params: params.clone(), name: name.into(), endpoint })
    }

    /// The tiers, NaN where there is none.
    ///
    /// # Errors
    /// See the module.
    pub fn score(&self, rows: &[Scored], context: &mut Context) -> Result<Vec<f64>, StageError> {
        let asks: Vec<Option<Ask>> = rows.iter().map(|row| self.ask(row)).collect();
        let replies = self.endpoint.ask(asks.iter().flatten(), context).map_err(|error| match error {
            StageError::Failed(what) => StageError::failed(format!("reward `{}`: {what}", self.name)),
            other => other,
        })?;
        let verdict = |ask: &Option<Ask>| match ask {
            None => NO_ANSWER,
            Some(ask) => replies.to(ask).and_then(|reply| tier(&reply.text)).unwrap_or(f64::NAN),
        };
        let verdicts: Vec<f64> = asks.iter().map(verdict).collect();
        let missing = verdicts.iter().filter(|verdict| verdict.is_nan()).count();
        if missing > 0 {
            let why = replies.trouble.as_ref().map_or_else(|| "its reply is no tier".into(), ToString::to_string);
            let text = format!("reward `{}`: {missing} of {} could not be judged: {why}", self.name, verdicts.len());
            if replies.trouble.is_some() && missing == verdicts.len() {
                return Err(StageError::failed(text + "; the stage goes on from its checkpoint when it answers"));
            }
            context.say(Level::Warning, text);
        }
        Ok(verdicts)
    }

    /// What the judge is asked about a completion; nothing where it has no answer.
    fn ask(&self, row: &Scored) -> Option<Ask> {
        let answer = answer_part(row.completion.text)?.trim();
        let prompt =
            self.params.prompt_template.fill(row.question.prompt.trim(), &row.question.item.reference(), answer);
        (!answer.is_empty()).then(|| {
            json!({
                "model": self.params.model,
                "messages": [{ "role": "user", "content": prompt }],
                "temperature": self.params.temperature,
                "max_tokens": self.params.max_tokens,
            })
        })
    }
}
