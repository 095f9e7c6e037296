use crate::cli::GlobalArgs;
use crate::exit::{Exit, Failure};
use crate::serve::lock;
use crate::terminal::Output;
use lore_client::{Client, ClientSettings};
use lore_config::{Config, LoadOptions, Secret};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How often a client command repeats a call while the server is full or still loading.
const RETRIES: u32 = 3;

/// What every command has at hand.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where results go.
    pub output: Output,
    global: GlobalArgs,
}

impl Context {
    /// The context of one command line.
    pub fn new(global: GlobalArgs) -> Self {
        Self {
            output: Output::new(global.json),
            global: without_empty(global),
        }
    }

    /// The configuration: defaults, file, environment, flags.
    pub fn config(&self) -> Result<Config, Failure> {
        Config::load(self.load_options()).map_err(|error| Failure::of(&error).exit(Exit::Config))
    }

    /// The layers of the configuration.
    pub fn load_options(&self) -> LoadOptions {
        let mut options = LoadOptions::default().process_env();
        if let Some(file) = &self.global.config {
            options = options.file(file);
        }
        for (name, key, value) in self.flags() {
            options = options.flag(name, key, value);
        }
        options
    }

    fn flags(&self) -> Vec<(String, String, String)> {
        let path = |path: &std::path::PathBuf| path.to_string_lossy().into_owned();
        let named = [
            (
                "--data-dir",
                "storage.data_dir",
                self.global.data_dir.as_ref().map(path),
            ),
            (
                "--models-dir",
                "models.dir",
                self.global.models_dir.as_ref().map(path),
            ),
            ("--listen", "server.listen", self.global.listen.clone()),
            ("--api-key", "server.api_keys", self.global.api_key.clone()),
        ];
        let named = named
            .into_iter()
            .filter_map(|(name, key, value)| Some((name.to_owned(), key.to_owned(), value?)));
        let set = self
            .global
            .set
            .iter()
            .map(|(key, value)| ("--set".to_owned(), key.clone(), value.clone()));
        named.chain(set).collect()
    }

    /// Takes the words of `--set` that are no keys of the configuration, which all have a dot, out of the context.
    pub fn without_settings(&self) -> (Self, Vec<(String, String)>) {
        let set = self.global.set.iter().cloned();
        let (keys, settings) = set.partition(|(key, _)| key.contains('.'));
        let mut context = self.clone();
        context.global.set = keys;
        (context, settings)
    }

    /// The URL that was asked for in so many words.
    pub fn given_url(&self) -> Option<&str> {
        self.global.url.as_deref()
    }

    /// A client of the server that the command line, the data folder or the configuration names.
    pub fn client(&self) -> Result<Client, Failure> {
        self.client_with_retries(RETRIES)
    }

    /// The same, with another patience.
    pub fn client_with_retries(&self, retries: u32) -> Result<Client, Failure> {
        let (url, api_key) = self.server()?;
        Ok(Client::new(&ClientSettings {
            url,
            api_key,
            retries,
        })?)
    }

    /// Address and key. A key of the configuration file goes to the local server alone, never to a URL that was given.
    fn server(&self) -> Result<(String, Option<String>), Failure> {
        let given = self.global.api_key.as_deref().and_then(first_key);
        if let Some(url) = &self.global.url {
            return Ok((url.clone(), given));
        }
        let config = self.config()?;
        let configured = config
            .server
            .api_keys
            .first()
            .map(|key: &Secret| key.expose().to_owned());
        let url = lock::running_server(&config.storage.data_dir)
            .unwrap_or_else(|| local_url(config.server.listen));
        Ok((url, given.or(configured)))
    }
}

/// `http://…` under which a server that listens on `address` is reached from this machine.
pub fn local_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

fn first_key(list: &str) -> Option<String> {
    list.split(',')
        .map(str::trim)
        .find(|key| !key.is_empty())
        .map(str::to_owned)
}

/// An empty variable, as shells and compose files leave it, counts as not set.
fn without_empty(mut global: GlobalArgs) -> GlobalArgs {
    let full = |text: &String| !text.is_empty();
    global.url = global.url.filter(full);
    global.api_key = global.api_key.filter(full);
    global.config = global.config.filter(|path| !path.as_os_str().is_empty());
    global
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_addresses_is_reached_on_this_machine() {
        let url = |text: &str| local_url(text.parse().expect("an address"));
        assert_eq!(url("0.0.0.0:80"), "http://127.0.0.1:80");
        assert_eq!(url("[::]:80"), "http://[::1]:80");
        assert_eq!(url("10.0.0.1:80"), "http://10.0.0.1:80");
    }

    #[test]
    fn the_first_of_several_keys_is_sent() {
        assert_eq!(first_key(" , a,b").as_deref(), Some("a"));
        assert_eq!(first_key(""), None);
    }
}
