//! Which operating-system user runs the server: ours, or an unprivileged one when we are root.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::EmbeddedError;

/// The users a root process drops to, best first.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The user that runs the server and the user that connects to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// Name of the user that runs the server.
    pub(super) server: String,
    /// Name of the user this process runs as.
    pub(super) client: String,
    /// User and group to drop to; `None` when this process is no root.
    pub(super) drop_to: Option<(u32, u32)>,
    uid: u32,
    gid: u32,
}

impl Account {
    /// Finds out who we are and who is to run the server.
    pub(super) fn current() -> Result<Account, EmbeddedError> {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let client = name_of(uid, &passwd)
            .map(str::to_owned)
            .or_else(|| id(&["-un"]))
            .unwrap_or_else(|| uid.to_string());
        if uid != 0 {
            return Ok(Account {
                server: client.clone(),
                client,
                drop_to: None,
                uid,
                gid,
            });
        }
        for name in UNPRIVILEGED {
            let numbers = ids_of(name, &passwd).or_else(|| {
                let number = |which| id(&[which, name])?.parse().ok();
                Some((number("-u")?, number("-g")?))
            });
            if let Some((uid, gid)) = numbers {
                return Ok(Account {
                    server: name.to_owned(),
                    client,
                    drop_to: Some((uid, gid)),
                    uid,
                    gid,
                });
            }
        }
        Err(EmbeddedError::NoAccount)
    }

    /// An account that runs nothing: us, or one that would drop to these ids.
    #[cfg(test)]
    pub(super) fn for_testing(drop_to: Option<(u32, u32)>) -> Account {
        let (uid, gid) = drop_to.unwrap_or((0, 0));
        Account {
            server: "somebody".to_owned(),
            client: "somebody".to_owned(),
            drop_to,
            uid,
            gid,
        }
    }

    /// A command that will run as the server's user, detached from our terminal's signals.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.drop_to {
            command.gid(gid).uid(uid);
        }
        command
            .current_dir("/")
            .process_group(0)
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        command
    }

    /// Hands `path` to the server's user and closes it to everybody else.
    pub(super) fn own(&self, path: &Path, mode: u32) -> Result<(), EmbeddedError> {
        use std::os::unix::fs::PermissionsExt;
        if let Some((uid, gid)) = self.drop_to {
            std::os::unix::fs::chown(path, Some(uid), Some(gid))
                .map_err(EmbeddedError::io("hand over", path))?;
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            .map_err(EmbeddedError::io("set the permissions of", path))
    }

    /// Whether the server's user may walk through every existing directory above `path`.
    pub(super) fn reaches(&self, path: &Path) -> bool {
        self.drop_to.is_none()
            || path.ancestors().skip(1).all(|above| {
                std::fs::metadata(above).map_or(true, |meta| {
                    may_search(meta.mode(), meta.uid(), meta.gid(), self.uid, self.gid)
                })
            })
    }

    /// Whether `uid` is the server's user.
    pub(super) fn is_server(&self, uid: u32) -> bool {
        self.uid == uid
    }
}

/// Whether a user may search a directory of this mode and owner (permission bits only).
fn may_search(mode: u32, owner: u32, group: u32, uid: u32, gid: u32) -> bool {
    let bit = if owner == uid {
        0o100
    } else if group == gid {
        0o010
    } else {
        0o001
    };
    mode & bit != 0
}

/// The name of a user, of those the machine itself knows: to ask a program takes longer than all of them together.
fn name_of(uid: u32, passwd: &str) -> Option<&str> {
    let users = passwd.lines().filter_map(user);
    let mut found = users.filter(|user| user.1 == uid);
    found.next().map(|(name, ..)| name)
}

/// User and group of a name.
fn ids_of(name: &str, passwd: &str) -> Option<(u32, u32)> {
    let users = passwd.lines().filter_map(user);
    let mut found = users.filter(|user| user.0 == name);
    found.next().map(|(_, uid, gid)| (uid, gid))
}

/// Name, user and group in a line of `/etc/passwd`.
fn user(line: &str) -> Option<(&str, u32, u32)> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let mut number = |skipped| fields.nth(skipped)?.parse().ok();
    Some((name, number(1)?, number(0)?))
}

/// What the system says of a user, wherever it has it from.
fn id(args: &[&str]) -> Option<String> {
    let output = Command::new("id")
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::{ids_of, may_search, name_of};

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n+@nis\n\nbroken:x:one:2::\nada:x:1000:1001:Ada:/home/ada:/bin/sh\n";
        assert_eq!(name_of(1000, passwd), Some("ada"));
        assert_eq!(ids_of("ada", passwd), Some((1000, 1001)));
        assert_eq!(ids_of("root", passwd), Some((0, 0)));
        assert_eq!((name_of(7, passwd), ids_of("broken", passwd)), (None, None));
        // What the machine says of the one who runs this test is what the file says, if it is in there.
        let uid = rustix::process::geteuid().as_raw();
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        if let Some(name) = name_of(uid, &passwd) {
            assert_eq!(super::id(&["-un"]).as_deref(), Some(name));
        }
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        assert!(may_search(0o700, 5, 6, 5, 9));
        assert!(!may_search(0o077, 5, 6, 5, 6));
        assert!(may_search(0o710, 5, 6, 7, 6));
        assert!(!may_search(0o701, 5, 6, 7, 6));
        assert!(may_search(0o701, 5, 6, 7, 8));
        assert!(!may_search(0o750, 5, 6, 7, 8));
    }
}
