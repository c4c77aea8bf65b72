//! Beside numpy 2.4.6, as `tests/bench/symmetry/draws.py` printed its draws.

use super::Generator;

/// What each seed draws first.
struct Recorded {
    seed: u64,
    bits: [u64; 3],
    random: [f64; 3],
    /// `uniform(0.1, 1.0)`.
    uniform: [f64; 3],
    /// `integers(0, 7, size=9)`, then `random()`, then `integers(0, 5, size=4)`, the first with what the nine left.
    integers: ([u64; 9], f64, [u64; 4]),
    /// `integers(0, n)` for each of [`BOUNDS`].
    bounded: [u64; 7],
    permutation: [usize; 10],
    /// `standard_normal()`, and the bits of 100,000 of them, combined by exclusive or.
    normal: ([f64; 3], u64),
    /// The sum of 100,000 `integers(0, 3_000_000_000)`, of which three in ten are drawn again; then `random()`.
    redrawn: (u64, f64),
}

const BOUNDS: [u64; 7] = [1, 2, 3_000_000_000, 1 << 32, (1 << 32) + 1, (1 << 63) - 1, 6_000_000_000_000_000_000];

static RECORDED: [Recorded; 4] = [
    Recorded {
        seed: 0,
        bits: [0xA30FEBCFD9C2825F, 0x4510BDF882D9D721, 0x0A7D3DA94ECDE8B8],
        random: [0.6369616873214543, 0.2697867137638703, 0.04097352393619469],
        uniform: [0.6732655185893088, 0.3428080423874833, 0.13687617154257523],
        integers: ([5, 4, 3, 1, 2, 0, 0, 0, 1], 0.9127555772777217, [4, 2, 3, 4]),
        bounded: [0, 1, 1910885061, 2195314465, 175979945, 152440531369162766, 4879621435201634596],
        permutation: [4, 6, 2, 7, 3, 5, 9, 0, 8, 1],
        normal: ([0.1257302210933933, -0.1321048632913019, 0.6404226504432821], 0x8122F3E0FDD561F2),
        redrawn: (149601224674309, 0.11492861721196013),
    },
    Recorded {
        seed: 1,
        bits: [0x8306BDF37922E4FF, 0xF35196BBC152A866, 0x24E7A4F608EC18CD],
        random: [0.5118216247002567, 0.9504636963259353, 0.14415961271963373],
        uniform: [0.5606394622302311, 0.9554173266933418, 0.22974365144767037],
        integers: ([3, 3, 5, 6, 0, 1, 5, 6, 1], 0.42332644897257565, [1, 1, 4, 1]),
        bounded: [0, 0, 1535464873, 3243419750, 619160822, 8749746783503398888, 1870988712062912950],
        permutation: [8, 4, 7, 0, 1, 2, 5, 9, 6, 3],
        normal: ([0.345584192064786, 0.8216181435011584, 0.33043707618338714], 0x00EB78BC871CD8C7),
        redrawn: (149715761509050, 0.5925971370194866),
    },
    Recorded {
        seed: 999,
        bits: [0xC761138BD05B74FD, 0x2C187C7C2C988D5F, 0xB6ACB4E32E4F89F6],
        random: [0.7788250175802724, 0.17224863082501163, 0.713572793449485],
        uniform: [0.8009425158222452, 0.25502376774251045, 0.7422155141045365],
        integers: ([5, 5, 1, 1, 1, 4, 0, 5, 1], 0.9019245608172058, [0, 0, 0, 4]),
        bounded: [0, 1, 522608286, 739802236, 3064771811, 6920619574658352620, 1026654461147954425],
        permutation: [9, 2, 5, 7, 1, 0, 4, 8, 3, 6],
        normal: ([0.7656489025899215, -0.4966340149465272, -2.0507230903960534], 0xFFF9A87E2F0860BB),
        redrawn: (150099472136706, 0.6303361551242894),
    },
    Recorded {
        seed: 9223372036854775808,
        bits: [0xCFB443E389167CFD, 0x98B11EB7647F71B8, 0xDE463A1436212DFD],
        random: [0.8113443785196867, 0.5964526365028158, 0.8682590770096154],
        uniform: [0.830209940667718, 0.6368073728525342, 0.8814331693086538],
        integers: ([3, 5, 2, 4, 1, 6, 4, 2, 0], 0.22827081255010595, [1, 2, 2, 1]),
        bounded: [0, 1, 634331343, 3729144340, 1825901413, 2301211832116662546, 1369624875300635706],
        permutation: [2, 6, 1, 0, 9, 4, 5, 7, 8, 3],
        normal: ([1.629426797845334, -1.5075699421794106, -3.141192621359472], 0x81F279FF7EC398C4),
        redrawn: (150298820648677, 0.8347235480914854),
    },
];

#[test]
fn draws_are_numpy_s() {
    for recorded in &RECORDED {
        let new = || Generator::new(recorded.seed);
        let mut generator = new();
        assert_eq!(recorded.bits.map(|_| generator.bits()), recorded.bits);
        generator = new();
        assert_eq!(recorded.random.map(|_| generator.random()), recorded.random);
        generator = new();
        assert_eq!(recorded.uniform.map(|_| generator.uniform(0.1, 1.0)), recorded.uniform);
        generator = new();
        assert_eq!(recorded.integers.0.map(|_| generator.below(7)), recorded.integers.0);
        assert_eq!(generator.random(), recorded.integers.1);
        assert_eq!(recorded.integers.2.map(|_| generator.below(5)), recorded.integers.2);
        generator = new();
        assert_eq!(BOUNDS.map(|n| generator.below(n)), recorded.bounded);
        generator = new();
        assert_eq!((0..100_000).map(|_| generator.below(3_000_000_000)).sum::<u64>(), recorded.redrawn.0);
        assert_eq!(generator.random(), recorded.redrawn.1);
        assert_eq!(new().permutation(10), recorded.permutation);
    }
}

#[test]
fn normal_draws_are_numpy_s() {
    for recorded in &RECORDED {
        let mut generator = Generator::new(recorded.seed);
        assert_eq!(recorded.normal.0.map(|_| generator.standard_normal()), recorded.normal.0);
        generator = Generator::new(recorded.seed);
        let all = (0..100_000).fold(0, |all, _| all ^ generator.standard_normal().to_bits());
        assert_eq!(all, recorded.normal.1, "seed {}", recorded.seed);
        let first = Generator::new(recorded.seed).normal(2.0, 0.5);
        assert_eq!(first, 2.0 + 0.5 * recorded.normal.0[0]);
    }
}

#[test]
fn what_has_no_choice_draws_nothing() {
    let mut generator = Generator::new(0);
    assert_eq!((generator.below(0), generator.below(1)), (0, 0));
    assert_eq!(generator.random(), Generator::new(0).random());
    assert!(generator.permutation(0).is_empty());
}
