use crate::Reader;
#[test]
fn placeholder_reader_reads() {
    assert!(Reader::empty("acd").load(|_| Some(())).is_ok());
}
