//! Endpoints that are alike in health and family: drawn from in constant time.

use std::ops::Range;

use super::picks::Near;

/// Candidates, sorted by where they are, so that those around a client are one range.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Indices into the service's endpoints.
    members: Box<[u32]>,
    /// Ends of the ranges that members have in the sum of weights; none while all weights are equal.
    ends: Option<Box<[u64]>>,
    /// Where members are and which they are; empty for services without a preference.
    groups: Box<[Group]>,
}

#[derive(Debug)]
struct Group {
    place: Box<[Near]>,
    members: Range<usize>,
}

/// A candidate while a pool is made.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) place: Box<[Near]>,
    pub(crate) index: u32,
    pub(crate) weight: u32,
}

/// Random numbers out of one seed (SplitMix64).
#[derive(Debug)]
pub struct Draws(u64);

impl Pool {
    pub(crate) fn new(mut candidates: Vec<Candidate>) -> Self {
        candidates.retain(|candidate| candidate.weight > 0);
        // Stable, and most services have no places at all: already sorted then.
        candidates.sort_by(|one, other| one.place.cmp(&other.place));
        let uniform = candidates.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        let ends = (!uniform).then(|| {
            let sums = candidates.iter().scan(0, |sum: &mut u64, candidate| {
                *sum += u64::from(candidate.weight);
                Some(*sum)
            });
            sums.collect()
        });
        let mut groups: Vec<Group> = Vec::new();
        for (at, candidate) in
            candidates.iter().enumerate().filter(|(_, candidate)| !candidate.place.is_empty())
        {
            match groups.last_mut() {
                Some(group) if group.place == candidate.place => group.members.end = at + 1,
                _ => groups.push(Group { place: candidate.place.clone(), members: at..at + 1 }),
            }
        }
        let members = candidates.iter().map(|candidate| candidate.index).collect();
        Self { members, ends, groups: groups.into() }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The members whose place begins with `near`.
    pub(crate) fn around(&self, near: &[Near]) -> Range<usize> {
        if near.is_empty() {
            return 0..self.members.len();
        }
        let prefix = |group: &Group| group.place[..near.len().min(group.place.len())].cmp(near);
        let from = self.groups.partition_point(|group| prefix(group).is_lt());
        let to = from + self.groups[from..].partition_point(|group| prefix(group).is_eq());
        match self.groups[from..to] {
            [] => 0..0,
            [ref only] => only.members.clone(),
            [ref first, .., ref last] => first.members.start..last.members.end,
        }
    }

    /// An endpoint's index out of a range that is not empty, by weight.
    pub(crate) fn draw(&self, members: Range<usize>, draws: &mut Draws) -> usize {
        let at = match &self.ends {
            None => members.start + draws.below_len(members.len()),
            Some(ends) => {
                let before = self.before(members.start);
                let total = ends[members.end - 1] - before;
                let drawn = before + draws.below(total);
                members.start + ends[members].partition_point(|end| *end <= drawn)
            }
        };
        index(self.members[at])
    }

    /// Indices of endpoints in a range, with their weights.
    pub(crate) fn members(&self, members: Range<usize>) -> impl Iterator<Item = (usize, u64)> {
        members.map(|at| {
            let weight = self.ends.as_ref().map_or(1, |ends| ends[at] - self.before(at));
            (index(self.members[at]), weight)
        })
    }

    fn before(&self, at: usize) -> u64 {
        match (&self.ends, at) {
            (None, _) | (_, 0) => 0,
            (Some(ends), at) => ends[at - 1],
        }
    }
}

impl Draws {
    /// Numbers out of that seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, which is not 0. The bias of one in 2^64 / `bound` doesn't matter here.
    fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.bits()) * u128::from(bound);
        u64::try_from(product >> 64).expect("the upper half of 128 bits has 64")
    }

    /// A number below `bound`, which is not 0.
    ///
    /// # Panics
    /// Where a length does not fit in 64 bits.
    pub fn below_len(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("a length fits in 64 bits");
        usize::try_from(self.below(bound)).expect("below a length")
    }

    /// One of several by weight, in one pass.
    pub(crate) fn weighted(&mut self, candidates: impl Iterator<Item = (usize, u64)>) -> Option<usize> {
        let mut total = 0;
        candidates.fold(None, |chosen, (index, weight)| {
            total += weight;
            if self.below(total) < weight { Some(index) } else { chosen }
        })
    }

    /// 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn index(member: u32) -> usize {
    usize::try_from(member).expect("an index made from a usize")
}
