//! The text of the cluster's configuration files; pure.

use std::path::Path;

/// The name under which `pg_ident.conf` maps the operating system's users to ours.
const MAP: &str = "mesher";

/// `postgresql.conf`: local, durable, tuned for a stream of inserts.
pub(super) fn postgresql_conf(socket: &Path, log: &Path, memory_bytes: Option<u64>) -> String {
    format!(
        "# Written by Mesher at every start. Put settings of your own into postgresql.local.conf.\n\
         listen_addresses = ''\n\
         unix_socket_directories = {socket}\n\
         unix_socket_permissions = 0700\n\
         max_connections = 60\n\
         superuser_reserved_connections = 3\n\
         # What is acknowledged is on disk.\n\
         fsync = on\n\
         synchronous_commit = on\n\
         full_page_writes = on\n\
         # Few, long checkpoints: a page is written whole once per checkpoint.\n\
         checkpoint_timeout = 15min\n\
         checkpoint_completion_target = 0.9\n\
         max_wal_size = 2GB\n\
         # A new segment is not filled with zeroes first: events would wait for the disk behind 16 MB each time.\n\
         wal_init_zero = off\n\
         min_wal_size = 256MB\n\
         wal_compression = on\n\
         shared_buffers = {shared_mb}MB\n\
         effective_cache_size = {cache_mb}MB\n\
         maintenance_work_mem = 64MB\n\
         work_mem = 8MB\n\
         random_page_cost = 1.1\n\
         jit = off\n\
         # Vacuum early and often: many small tables that change all the time.\n\
         autovacuum = on\n\
         autovacuum_naptime = 15s\n\
         autovacuum_vacuum_scale_factor = 0.05\n\
         autovacuum_vacuum_insert_scale_factor = 0.1\n\
         autovacuum_analyze_scale_factor = 0.02\n\
         timezone = 'UTC'\n\
         log_timezone = 'UTC'\n\
         # One log file for each day of the week.\n\
         logging_collector = on\n\
         log_directory = {log}\n\
         log_filename = 'postgresql-%a.log'\n\
         log_truncate_on_rotation = on\n\
         log_rotation_age = 1d\n\
         log_rotation_size = 0\n\
         log_line_prefix = '%m [%p] '\n\
         cluster_name = 'mesher'\n\
         include_if_exists = 'postgresql.local.conf'\n",
        socket = quoted(&listed(socket)),
        log = quoted(&log.to_string_lossy()),
        shared_mb = shared_buffers_mb(memory_bytes),
        cache_mb = memory_bytes.map_or(1024, |bytes| (bytes / 2 / MIB).max(256)),
    )
}

/// `pg_hba.conf`: the kernel says who connects; nobody comes over the network.
pub(super) fn pg_hba_conf() -> String {
    format!("# Written by Mesher at every start.\nlocal all all peer map={MAP}\n")
}

/// `pg_ident.conf`: the users of the operating system that are our database user.
pub(super) fn pg_ident_conf(client: &str, server: &str) -> String {
    let mut text = String::from("# Written by Mesher at every start.\n");
    let mut users = vec![client, server];
    users.dedup();
    for user in users {
        text.push_str(&format!("{MAP} \"{user}\" {}\n", super::layout::USER));
    }
    text
}

const MIB: u64 = 1024 * 1024;

/// An eighth of the memory, between 64 and 512 MiB: small machines are the rule here.
fn shared_buffers_mb(memory_bytes: Option<u64>) -> u64 {
    memory_bytes.map_or(128, |bytes| (bytes / 8 / MIB).clamp(64, 512))
}

/// A path as one element of a list of paths, in which a comma would separate.
fn listed(path: &Path) -> String {
    format!("\"{}\"", path.to_string_lossy().replace('"', "\"\""))
}

/// A text as a value of `postgresql.conf`.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The machine's memory from the text of `/proc/meminfo`.
pub(super) fn memory_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{memory_bytes, pg_ident_conf, postgresql_conf};

    #[test]
    fn nothing_listens_on_the_network_and_paths_are_quoted() {
        let text = postgresql_conf(Path::new("/a'b,c"), Path::new("/log"), Some(16 << 30));
        assert!(text.contains("listen_addresses = ''\n"));
        assert!(text.contains("unix_socket_directories = '\"/a''b,c\"'\n"));
        assert!(text.contains("fsync = on\n") && text.contains("shared_buffers = 512MB\n"));
    }

    #[test]
    fn each_user_is_mapped_once() {
        assert_eq!(pg_ident_conf("ada", "ada").matches("ada").count(), 1);
        let root = pg_ident_conf("root", "postgres");
        assert!(
            root.contains("mesher \"root\" mesher\n")
                && root.contains("mesher \"postgres\" mesher\n")
        );
    }

    #[test]
    fn memory_is_read_in_kib() {
        assert_eq!(
            memory_bytes("MemTotal:       2048 kB\nMemFree: 1 kB\n"),
            Some(2_097_152)
        );
        assert_eq!(memory_bytes("nothing"), None);
    }
}
