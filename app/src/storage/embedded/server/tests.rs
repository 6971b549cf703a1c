//! A server that comes up where another was killed.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use super::{Begun, Ground, Starting, open_lock};
use crate::storage::embedded::account::Account;
use crate::storage::embedded::binaries::Binaries;
use crate::storage::embedded::layout::Layout;
use crate::storage::embedded::pid_file::Written;

#[test]
fn what_a_killed_server_of_the_same_number_left_is_not_taken_for_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::resolve(dir.path(), &Account::for_testing(None)).unwrap();
    fs::create_dir_all(&layout.data).unwrap();
    let mut server = Command::new("/bin/sh")
        .arg0("postgres")
        .args(["-c", "read line", "-D"])
        .arg(&layout.data)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = i32::try_from(server.id()).unwrap();
    let path = layout.data.join("postmaster.pid");
    let write = |pid: i32, start: u32, status: &str| {
        let data = layout.data.display();
        let text = format!("{pid}\n{data}\n{start}\n5432\n/socket\n\n 1 1\n{status}\n");
        fs::write(&path, text).unwrap();
        // Two writes in a row may carry the same time.
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(start.into());
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(modified).unwrap();
    };
    write(pid, 1, "ready");
    let starting = Starting {
        left: Written::read(&layout.data).unwrap(),
        pid,
        ground: Ground {
            binaries: Binaries {
                dir: dir.path().to_owned(),
                version: "15.1".to_owned(),
            },
            users: open_lock(&layout, &layout.users_lock).unwrap(),
            start: open_lock(&layout, &layout.start_lock).unwrap(),
            layout: layout.clone(),
        },
    };
    let begun = Box::new(starting).look().unwrap();
    let Begun::Starting(starting) = begun else {
        panic!("{begun:?}");
    };
    write(pid, 2, "starting");
    assert!(!starting.is_up());
    write(pid + 1, 2, "ready");
    assert!(!starting.is_up(), "another's word");
    write(pid, 2, "ready");
    assert!(starting.is_up());
    // The same words, written anew.
    write(pid, 1, "ready");
    assert!(!starting.is_up());
    let again = File::options().write(true).open(&path).unwrap();
    again.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert!(starting.is_up());
    drop(server.stdin.take());
    server.wait().unwrap();
    assert!(!starting.is_up(), "it has ended");
}
