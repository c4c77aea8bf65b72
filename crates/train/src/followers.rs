//! A model on several devices, for more rows at a time: data parallelism.
//!
//! Each device computes the gradients of its share of a window, [`crate::reduce`] sums them over the devices, one
//! optimizer moves the leading model, and the copies take over what it has learnt. Of a model with adapters that is the
//! adapters alone, and the optimizer's state is kept once.

use burn::tensor::Device;
use gazal_lm::{Decoder, Trainable};

use crate::{Gradients, reduce, side_by_side};

/// Copies of a model on further devices.
#[derive(Default)]
pub struct Followers(Vec<Decoder>);

impl Followers {
    /// A copy of `leader` on each of these devices.
    pub fn new(leader: &Decoder, devices: &[Device]) -> Followers {
        Followers(devices.iter().map(|device| leader.to_device(device)).collect())
    }

    /// Devices, the leader's among them.
    pub fn devices(&self) -> usize {
        1 + self.0.len()
    }

    /// Takes over what has been trained.
    pub fn follow(&mut self, leader: &Decoder, trainable: Trainable) {
        for follower in &mut self.0 {
            follower.take_over(leader, trainable);
        }
    }

    /// Copies of another model, each made of the copy that is here: on the same devices, and of the same tensors where `of`
    /// keeps them.
    #[must_use]
    pub fn map(&self, of: impl Fn(&Decoder) -> Decoder) -> Followers {
        Followers(self.0.iter().map(of).collect())
    }

    /// What `work` gives of each part, in order. Parts are dealt to the devices in turn, the leader's first.
    pub fn each<T: Sync, R: Send>(
        &self,
        leader: &Decoder,
        parts: &[T],
        work: impl Fn(&Decoder, &T) -> R + Sync + Send,
    ) -> Vec<R> {
        in_turn(self.shares(leader, parts, |decoder, own| side_by_side(decoder, own, |part| work(decoder, part))))
    }

    /// The same, and the sum of the gradients.
    pub fn gradients<T: Sync, R: Send>(
        &self,
        leader: &Decoder,
        parts: &[T],
        work: impl Fn(&Decoder, &T) -> (R, Gradients) + Sync + Send,
    ) -> (Vec<R>, Gradients) {
        let shares = self.shares(leader, parts, |decoder, own| {
            let results = side_by_side(decoder, own, |part| work(decoder, part));
            let (results, gradients): (Vec<R>, Vec<Gradients>) = results.into_iter().unzip();
            (results, reduce(gradients))
        });
        let (results, gradients) = shares.into_iter().unzip();
        (in_turn(results), reduce(gradients))
    }

    /// What `share` gives of each device's parts, all at the same time.
    fn shares<T: Sync, R: Send>(
        &self,
        leader: &Decoder,
        parts: &[T],
        share: impl Fn(&Decoder, &[&T]) -> R + Sync,
    ) -> Vec<R> {
        let count = self.devices();
        let share = |(place, decoder): (usize, &Decoder)| {
            let own: Vec<&T> = parts.iter().skip(place).step_by(count).collect();
            share(decoder, &own)
        };
        let others: Vec<(usize, &Decoder)> = (1..).zip(&self.0).collect();
        std::thread::scope(|scope| {
            let running: Vec<_> = others.into_iter().map(|of| scope.spawn(move || share(of))).collect();
            let mut shares = vec![share((0, leader))];
            shares.extend(running.into_iter().map(|share| match share.join() {
                Ok(share) => share,
                Err(panic) => std::panic::resume_unwind(panic),
            }));
            shares
        })
    }
}

/// Of several lists the first of each, then the second of each, and so on.
fn in_turn<R>(lists: Vec<Vec<R>>) -> Vec<R> {
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(lists.iter_mut().filter_map(Iterator::next));
        if all.len() == before {
            return all;
        }
    }
}
