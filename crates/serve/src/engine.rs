//! The one thread that owns the model. Requests wait in a bounded queue, enter the batch when there is room, and leave
//! it when they are done or when nobody listens any more.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, TryRecvError};

use gazal_lm::{Decoder, Demand, End, Generator, Piece, SamplingParams, Token, Tokenizer, Unfolding, uniform};
use tokio::sync::mpsc::UnboundedSender;

/// Completions of one prompt.
pub(crate) struct Job {
    pub prompt: Vec<u32>,
    pub wanted: Vec<Wanted>,
}

/// One completion.
pub(crate) struct Wanted {
    pub sampling: SamplingParams,
    pub max_new_tokens: usize,
    pub seed: u64,
    pub stops: Vec<String>,
    /// Told back with every word.
    pub index: usize,
    pub reply: UnboundedSender<Told>,
}

/// What is told of a completion.
#[derive(Debug)]
pub(crate) struct Told {
    pub index: usize,
    /// May be empty: a token need not end a character.
    pub text: String,
    /// The token that brought it, and its log-probability.
    pub token: Option<(u32, f32)>,
    /// `stop` or `length`; nothing follows.
    pub end: Option<&'static str>,
}

/// A model and its words.
pub(crate) struct Model {
    pub decoder: Decoder,
    pub tokenizer: Tokenizer,
}

/// A completion under way.
struct Open {
    text: Unfolding,
    index: usize,
    reply: UnboundedSender<Told>,
}

/// Serves until nobody can ask any more. At most `max_batch` sequences are generated side by side, or as many as one
/// request asks for.
pub(crate) fn serve(model: &Model, jobs: &Receiver<Job>, max_batch: usize) {
    let eos: Rc<[u32]> = Rc::from(&model.tokenizer.eos_ids[..]);
    let mut generator = Generator::new(&model.decoder, model.tokenizer.pad);
    let mut open: HashMap<usize, Open> = HashMap::new();
    let mut entered = 0;
    let mut waiting: Option<Job> = None;
    loop {
        let mut entering = Vec::new();
        let mut room = max_batch.saturating_sub(generator.running());
        loop {
            let idle = generator.running() == 0 && entering.is_empty();
            let job = match waiting.take() {
                Some(job) => job,
                None if idle => match jobs.recv() {
                    Ok(job) => job,
                    Err(_) => return,
                },
                None => match jobs.try_recv() {
                    Ok(job) => job,
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                },
            };
            if job.wanted.len() > room && !idle {
                waiting = Some(job);
                break;
            }
            room = room.saturating_sub(job.wanted.len());
            let mut demands = Vec::new();
            for wanted in job.wanted {
                let Wanted { sampling, max_new_tokens, seed, stops, index, reply } = wanted;
                open.insert(entered, Open { text: Unfolding::new(stops), index, reply });
                entered += 1;
                let uniform = Box::new(move |step| uniform(seed, 0, step));
                demands.push(Demand { sampling, max_new_tokens, eos: eos.clone(), uniform });
            }
            entering.push((job.prompt, demands));
        }
        let first = generator.enter(entering);
        tell(model, &mut generator, &mut open, first);
        let next = generator.step();
        tell(model, &mut generator, &mut open, next);
    }
}

/// Hands out what tokens bring, and lets go of what is over.
fn tell(model: &Model, generator: &mut Generator, open: &mut HashMap<usize, Open>, tokens: Vec<Token>) {
    let decode = |ids: &[u32]| model.tokenizer.decode(ids).unwrap_or_default();
    for Token { sequence, id, log_prob, end } in tokens {
        let Some(one) = open.get_mut(&sequence) else { continue };
        let Piece { mut text, mut stopped } = match end {
            Some(End::Eos) => Piece { text: String::new(), stopped: false },
            _ => one.text.add(id, &decode),
        };
        if end.is_some() && !stopped {
            let rest = one.text.finish(&decode);
            text += &rest.text;
            stopped = rest.stopped;
        }
        let reason = match end {
            Some(End::Length) if !stopped => Some("length"),
            Some(_) => Some("stop"),
            None => stopped.then_some("stop"),
        };
        let told = Told { index: one.index, text, token: Some((id, log_prob)), end: reason };
        let gone = one.reply.send(told).is_err();
        if reason.is_some() || gone {
            open.remove(&sequence);
            if end.is_none() {
                generator.leave(sequence);
            }
        }
    }
}
