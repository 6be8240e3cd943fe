//! Who asks for what: a Zipf distribution over keys, with a share of keys that are asked for once.

/// A bijective mix of 64 bits (splitmix64): as many independent values per id as one wants.
pub fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Random numbers that are the same in every run.
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(mix(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// In (0, 1).
    pub fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// Ranks 0..n, the first most often. Rejection-inversion (Hörmann and Derflinger 1996): no table,
/// so that the generator's memory is not taken for the store's.
#[derive(Clone)]
struct Zipf {
    count: f64,
    skew: f64,
    first: f64,
    last: f64,
    cut: f64,
}

impl Zipf {
    fn new(count: u64, skew: f64) -> Zipf {
        let mut zipf = Zipf {
            count: count as f64,
            skew,
            first: 0.0,
            last: 0.0,
            cut: 0.0,
        };
        zipf.first = zipf.integral(1.5) - 1.0;
        zipf.last = zipf.integral(zipf.count + 0.5);
        zipf.cut = 2.0 - zipf.inverse(zipf.integral(2.5) - 2f64.powf(-skew));
        zipf
    }

    fn integral(&self, x: f64) -> f64 {
        let exponent = 1.0 - self.skew;
        if exponent.abs() < 1e-9 {
            x.ln()
        } else {
            (x.powf(exponent) - 1.0) / exponent
        }
    }

    fn inverse(&self, y: f64) -> f64 {
        let exponent = 1.0 - self.skew;
        if exponent.abs() < 1e-9 {
            y.exp()
        } else {
            (1.0 + y * exponent).powf(1.0 / exponent)
        }
    }

    fn sample(&self, rng: &mut Rng) -> u64 {
        loop {
            let u = self.last + rng.unit() * (self.first - self.last);
            let x = self.inverse(u);
            let rank = x.round().clamp(1.0, self.count);
            if rank - x <= self.cut || u >= self.integral(rank + 0.5) - rank.powf(-self.skew) {
                return rank as u64 - 1;
            }
        }
    }
}

/// An endless sequence of ids, the same for the same parameters.
#[derive(Clone)]
pub struct Trace {
    rng: Rng,
    zipf: Zipf,
    scan: f64,
    /// The next id that nobody asked for before.
    fresh: u64,
}

impl Trace {
    /// `keys` ids with this skew; a share of `scan` of the requests is for ids asked for once.
    pub fn new(seed: u64, keys: u64, skew: f64, scan: f64) -> Trace {
        Trace {
            rng: Rng::new(seed),
            zipf: Zipf::new(keys, skew),
            scan,
            fresh: keys,
        }
    }

    pub fn next(&mut self) -> u64 {
        if self.rng.unit() < self.scan {
            self.fresh += 1;
            return self.fresh;
        }
        self.zipf.sample(&mut self.rng)
    }
}
