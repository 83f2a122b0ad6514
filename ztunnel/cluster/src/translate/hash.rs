//! A hash that is the same on every node and in every version.

/// FNV-1a of 128 bits, over parts that are kept apart.
pub(super) fn hash(parts: &[&str]) -> u128 {
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for part in parts {
        // 0xff is in no UTF-8 text.
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b);
        }
    }
    hash
}

/// A uid for an object that nobody gave one, in the shape of Kubernetes' own.
pub(super) fn uid(namespace: &str, name: &str) -> String {
    let hex = format!("{:032x}", hash(&["uid", namespace, name]));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(hash(&[]), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_ne!(hash(&["a", "b"]), hash(&["ab"]));
        assert_ne!(hash(&["a", ""]), hash(&["", "a"]));
        assert_eq!(uid("shop", "cart"), uid("shop", "cart"));
        assert_eq!(uid("shop", "cart").len(), 36);
    }
}
