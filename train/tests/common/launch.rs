//! A test that starts itself again as two ranks.

use std::env;
use std::ffi::OsStr;
use std::process::Command;

use umedsam_train::ranks::Ranks;

/// Says to a process that it is not the test but what the test starts.
pub(crate) const STARTED: &str = "UMEDSAM_TEST_RANK";

/// Runs `body` on two ranks, in the test of the name `test`, with these environment variables. A rank that hangs is ended and fails the test.
pub(crate) fn on_two_ranks(test: &str, variables: &[(&str, &OsStr)], body: fn(Ranks)) {
    if env::var_os(STARTED).is_some() {
        let ranks = Ranks::new().unwrap();
        assert_eq!(ranks.size(), 2);
        println!("rank {}", ranks.rank());
        return body(ranks);
    }
    let mut mpirun = Command::new("mpirun");
    mpirun.args(["-n", "2"]).arg(env::current_exe().unwrap()).envs([
        ("MPIEXEC_TIMEOUT", "60"),
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        // More ranks than cores: Open MPI 4, and 5.
        ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
        ("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"),
    ]);
    mpirun.envs(variables.iter().copied());
    let output = start(mpirun, test);
    assert!(output.contains("rank 0") && output.contains("rank 1"), "{output}");
}

/// What `command`, which starts this program, prints, if it succeeds in the test of the name `test`.
pub(crate) fn start(mut command: Command, test: &str) -> String {
    let run = command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(STARTED, "1").output();
    let run = run.unwrap_or_else(|error| panic!("the feature mpi is tested with mpirun: {command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success() && out.contains("1 passed"), "{}\n{out}\n{err}", run.status);
    out.into_owned()
}
