//! A folder that holds what the files under `edge-configs` name beside themselves. Included by the
//! tests that read those files; the certificate is PEM in form only, which is all this crate reads.

use std::path::{Path, PathBuf};

pub const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
pub const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
pub const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n";

/// Removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// `name` keeps tests that run at once apart.
    pub fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("forebay-config-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// With the plugins and certificates of `edge-configs` in the places that its files name.
    #[allow(dead_code, reason = "each test binary uses its part")]
    pub fn like_the_repository(name: &str) -> Folder {
        let folder = Folder::new(name);
        folder.write("plugins/lua/request-stamp/main.lua", "return {}\n");
        folder.write("plugins/lua/thresholds/main.lua", "return {}\n");
        folder.write("plugins/wasm/shop-headers/Cargo.toml", "[package]\nname = \"shop-headers\"\n");
        folder.write("plugins/wasm/shop-headers/target/forebay/shop-headers.wasm", "\0asm");
        folder.write("edge-configs/secrets/billing-key", "a value that nothing shows\n");
        folder.write("edge-configs/secrets/redis", "a password\n");
        folder.write("edge-configs/secrets/plugin-registry", "a password\n");
        let holidays = include_str!("../../../../edge-configs/calendars/holidays.ics");
        folder.write("edge-configs/calendars/holidays.ics", holidays);
        folder.write("edge-configs/keys/plugins.pem", PUBLIC_KEY);
        for tls in ["edge-configs/tls", "edge-configs/examples/tls"] {
            folder.write(&format!("{tls}/certificate.pem"), CERTIFICATE);
            folder.write(&format!("{tls}/key.pem"), KEY);
        }
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind is the system's to clear; the test has said what it had to.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
