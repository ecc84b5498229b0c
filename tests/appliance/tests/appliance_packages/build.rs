//! How packages are built.

use std::path::Path;

use anyhow::Context;
use ringdown_appliance::fleet::checkout;
use ringdown_appliance::packages::{build, daemons, here};

/// The newest symbols of the C library that Enterprise Linux 9 has.
const GLIBC: [u32; 2] = [2, 34];

#[test]
fn the_same_commit_gives_the_same_bytes() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    for out in [&one, &other] {
        build(&checkout(), out, &["deb", "rpm"])?;
    }
    here(&["diff", "-r", &one.to_string_lossy(), &other.to_string_lossy()])?.success().context("they differ")?;
    let count = |kind: &str| std::fs::read_dir(one.join(kind)).map(|entries| entries.count());
    assert!(count("deb")? > daemons()?.len() && count("rpm")? > daemons()?.len(), "packages were made");
    assert_old_enough(&one.join("rpm"))?;
    let lint = "rpmlint --strict -c \"$1/packaging/rpmlint.toml\" \"$2\"/*.rpm \"$1/packaging/ringdown.spec\"";
    let rpm = one.join("rpm");
    here(&["sh", "-euc", lint, "lint", &checkout().to_string_lossy(), &rpm.to_string_lossy()])?
        .success()
        .context("rpmlint")?;
    Ok(())
}

/// No package needs a newer C library than promised, and every daemon needs one at all.
fn assert_old_enough(rpms: &Path) -> anyhow::Result<()> {
    let needed = here(&["sh", "-euc", "rpm -qp --requires \"$1\"/*.rpm", "requires", &rpms.to_string_lossy()])?;
    let needed = needed.success()?;
    let versions = needed.lines().filter_map(|line| line.split_once("(GLIBC_")?.1.split(')').next());
    let numbers = |version: &str| version.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>();
    let newest = versions.map(numbers).collect::<Result<Vec<_>, _>>()?.into_iter().max().context("none is linked")?;
    println!("appliance_packages_glibc {}.{} version", newest[0], newest[1]);
    assert!(newest.as_slice() <= GLIBC.as_slice(), "needs GLIBC_{newest:?}");
    Ok(())
}
