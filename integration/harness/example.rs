//! Examples of docs/processes.md, so that what a reader is told is what a test runs.

/// The fenced blocks of the section with this heading; it must have exactly so many.
#[track_caller]
pub(crate) fn example<const N: usize>(heading: &str) -> [String; N] {
    let document = include_str!("../../docs/processes.md");
    let mut sections = document.split("\n## ");
    let section = sections.find(|section| section.lines().next() == Some(heading));
    let section = section.unwrap_or_else(|| panic!("docs/processes.md has no section {heading:?}"));
    // Between two fences; the first line of a block names its language.
    let blocks = section.split("\n```").skip(1).step_by(2);
    let blocks: Vec<String> =
        blocks.map(|block| block.split_once('\n').map_or("", |(_, text)| text).to_owned()).collect();
    let count = blocks.len();
    blocks.try_into().unwrap_or_else(|_| panic!("section {heading:?} has {count} examples, wanted {N}"))
}
