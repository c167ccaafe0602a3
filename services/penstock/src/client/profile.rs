//! Servers and keys by name, in a file of the user's own, and which of them a command means.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, IsTerminal, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use super::{
    ClientError, Link, Show, probe,
    show::{Column, text},
};
use crate::cli::{ProfileArguments, ProfileCommand, Server};

const SERVER: &str = "http://127.0.0.1:7070";
const KEY_FILE: &str = ".penstock/operator.key";

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profiles {
    /// The one that is meant where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// A server, and how one comes to it. No `Debug`: it may hold a key.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    app: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    tenant: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ops: Vec<String>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile").field("server", &self.server).finish_non_exhaustive()
    }
}

fn wrong(what: String, next: impl Into<String>) -> ClientError {
    ClientError::Profile(what, next.into())
}

fn path() -> Result<PathBuf, ClientError> {
    let config = env::var_os("XDG_CONFIG_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let config = config.or_else(|| Some(env::home_dir()?.join(".config")));
    let none = || wrong("there is no place for profiles".to_owned(), "set HOME or XDG_CONFIG_HOME");
    Ok(config.ok_or_else(none)?.join("penstock/config.toml"))
}

impl Profiles {
    /// What is kept; nothing where there is no file.
    fn read(path: &Path) -> Result<Self, ClientError> {
        let file = path.display();
        let unread = |source| ClientError::NoFile { path: path.to_owned(), source };
        let mut opened = match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            opened => opened.map_err(unread)?,
        };
        let mode = opened.metadata().map_err(unread)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            let what = format!("{file} holds keys and others may read it (mode {mode:03o})");
            return Err(wrong(what, format!("chmod 600 {file}")));
        }
        let mut text = String::new();
        opened.read_to_string(&mut text).map_err(unread)?;
        // Not the parser's own message, which shows the line: it may hold a key.
        toml::from_str(&text).map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            let what = format!("{file}, line {line}: {}", error.message());
            wrong(what, "mend it, or remove it and penstock login again")
        })
    }

    /// Keeps it for its owner alone, whole or not at all.
    fn write(&self, path: &Path) -> Result<(), ClientError> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let next = path.with_added_extension(std::process::id().to_string());
        let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&next)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all())?;
        Ok(fs::rename(next, path)?)
    }

    fn get(&self, name: &str) -> Result<&Profile, ClientError> {
        self.profiles.get(name).ok_or_else(|| {
            let names: Vec<_> = self.profiles.keys().map(String::as_str).collect();
            let there =
                if names.is_empty() { "none is kept".to_owned() } else { format!("there is {}", names.join(", ")) };
            wrong(
                format!("no profile is called {name:?}: {there}"),
                format!("penstock login {name} --server URL makes it"),
            )
        })
    }
}

/// Where a key comes from.
#[derive(Clone)]
enum KeySource {
    Said(String),
    File(PathBuf),
    /// It is for another server: why it isn't shown to this one.
    Withheld(String),
}

/// Which server a command means, with which key, and whose data.
pub(crate) struct Target {
    pub(super) server: String,
    key: KeySource,
    /// Where the key comes from, for people.
    pub(super) whence: String,
    pub(super) app: String,
    pub(super) tenant: String,
    pub(super) ops: Vec<String>,
}

impl Target {
    /// A flag wins over the environment, that over the profile. A profile's key is shown to the profile's server alone.
    pub(super) fn of(said: &Server) -> Result<Self, ClientError> {
        let profiles = match path() {
            Ok(path) => Profiles::read(&path)?,
            Err(_) if said.profile.is_none() => Profiles::default(),
            Err(error) => return Err(error),
        };
        let name = said.profile.as_deref().filter(|name| !name.is_empty()).or(profiles.default.as_deref());
        let profile = name.map(|name| profiles.get(name)).transpose()?.cloned();
        let known = profile.unwrap_or_default();
        let server = said.server.clone().filter(|server| !server.is_empty());
        let is_its_own = server.as_ref().is_none_or(|server| *server == known.server);
        let server = server.unwrap_or_else(|| known.server.clone());
        let variable = env::var("PENSTOCK_KEY").ok().filter(|key| !key.is_empty());
        let (key, whence) = match (&said.key, &said.key_file, variable) {
            (Some(key), _, _) => (KeySource::Said(key.clone()), "--key".to_owned()),
            (None, Some(file), _) => (KeySource::File(file.clone()), file.display().to_string()),
            (None, None, Some(key)) => (KeySource::Said(key), "PENSTOCK_KEY".to_owned()),
            (None, None, None) => match (known.key, known.key_file) {
                (Some(key), _) if is_its_own => {
                    (KeySource::Said(key), format!("the profile {}", name.unwrap_or_default()))
                }
                (None, Some(file)) if is_its_own => (KeySource::File(file.clone()), file.display().to_string()),
                (Some(_), _) | (_, Some(_)) if !Path::new(KEY_FILE).exists() => {
                    let name = name.unwrap_or_default();
                    let why = format!("the key of the profile {name} is for {} alone", known.server);
                    (KeySource::Withheld(why), String::new())
                }
                _ => (KeySource::File(KEY_FILE.into()), KEY_FILE.to_owned()),
            },
        };
        let server = if server.is_empty() { SERVER.to_owned() } else { server };
        // Another server's apps, tenants and processes are others.
        let (app, tenant, ops) = if is_its_own { (known.app, known.tenant, known.ops) } else { Default::default() };
        Ok(Self { server, key, whence, app, tenant, ops })
    }

    pub(super) fn key(&self) -> Result<String, ClientError> {
        match &self.key {
            KeySource::Said(key) => Ok(key.clone()),
            KeySource::Withheld(why) => {
                let next =
                    format!("penstock login NAME --server {} keeps another; or say --key-file FILE", self.server);
                Err(wrong(why.clone(), next))
            }
            KeySource::File(path) => {
                fs::read_to_string(path).map_err(|source| ClientError::NoKey { path: path.clone(), source })
            }
        }
    }

    /// The app that is said, else the profile's.
    pub(super) fn app(&self, said: &mut String) {
        if said.is_empty() {
            said.clone_from(&self.app);
        }
    }

    /// The tenant that is said, else the profile's.
    pub(super) fn tenant(&self, mut said: String) -> String {
        if said.is_empty() {
            said.clone_from(&self.tenant);
        }
        said
    }
}

pub(crate) async fn profile(command: ProfileCommand, show: &mut Show) -> Result<(), ClientError> {
    let path = path()?;
    let name = match command {
        ProfileCommand::Add(arguments) => return login(arguments, show).await,
        ProfileCommand::List => {
            let profiles = Profiles::read(&path)?;
            let all: Vec<_> = profiles.profiles.iter().map(|(name, profile)| shown(&profiles, name, profile)).collect();
            return show.objects(&all, &COLUMNS);
        }
        ProfileCommand::Use { name } => {
            let mut profiles = Profiles::read(&path)?;
            profiles.get(&name)?;
            profiles.default = Some(name.clone());
            profiles.write(&path)?;
            name
        }
        ProfileCommand::Remove { name } => {
            let mut profiles = Profiles::read(&path)?;
            profiles.get(&name)?;
            profiles.profiles.remove(&name);
            profiles.default.take_if(|default| *default == name);
            profiles.write(&path)?;
            return show.object(&json!({"name": name, "removed": true}), &format!("{name} removed"));
        }
    };
    show.object(&json!({"name": name, "in_use": true}), &format!("{name} is in use"))
}

const COLUMNS: [Column; 6] = [
    ("name", |p| text(&p["name"])),
    ("in use", |p| if p["in_use"] == true { "yes".to_owned() } else { String::new() }),
    ("server", |p| text(&p["server"])),
    ("key", |p| text(&p["key"])),
    ("app", |p| text(&p["app"])),
    ("tenant", |p| text(&p["tenant"])),
];

/// A profile as it may be seen.
fn shown(profiles: &Profiles, name: &str, profile: &Profile) -> Value {
    let key = match (&profile.key, &profile.key_file) {
        (Some(_), _) => "kept".to_owned(),
        (None, Some(file)) => file.display().to_string(),
        (None, None) => "none".to_owned(),
    };
    let Profile { server, app, tenant, ops, .. } = profile;
    let in_use = profiles.default.as_deref() == Some(name);
    json!({"name": name, "in_use": in_use, "server": server, "key": key, "app": app, "tenant": tenant, "ops": ops})
}

/// Keeps a key that its server knows.
pub(crate) async fn login(arguments: ProfileArguments, show: &mut Show) -> Result<(), ClientError> {
    let ProfileArguments { name, server, key_file, app, tenant, ops, unchecked } = arguments;
    let path = path()?;
    let mut profiles = Profiles::read(&path)?;
    let key_file = key_file.map(std::path::absolute).transpose()?;
    let source = match &key_file {
        Some(file) => KeySource::File(file.clone()),
        None => KeySource::Said(asked_for(&server).await?),
    };
    let key = match &source {
        KeySource::Said(key) => Some(key.clone()),
        KeySource::File(_) | KeySource::Withheld(_) => None,
    };
    let profile = Profile { server: server.clone(), key, key_file, app, tenant, ops };
    if !unchecked {
        let target = Target {
            server: server.clone(),
            key: source,
            whence: String::new(),
            app: String::new(),
            tenant: String::new(),
            ops: Vec::new(),
        };
        let checked = async { Link::open(&target).await?.call("QueryService.Describe", json!({})).await }.await;
        // An operator's may not ask, and is known all the same.
        if let Err(error) = checked
            && !error.is_denied()
        {
            return Err(if error.is_unheard() { probe::explain(&server, error).await } else { error });
        }
    }
    profiles.default.get_or_insert_with(|| name.clone());
    let said = shown(&profiles, &name, &profile);
    let use_it = if said["in_use"] == true {
        String::new()
    } else {
        format!("; penstock profile use {name} has commands mean it")
    };
    profiles.profiles.insert(name.clone(), profile);
    profiles.write(&path)?;
    show.object(&said, &format!("{name} is kept in {}{use_it}", path.display()))
}

/// A terminal that doesn't show what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0); // the terminal may be gone
        let _ = writeln!(io::stderr());
    }
}

/// The key, typed without being shown, or piped in.
async fn asked_for(server: &str) -> Result<String, ClientError> {
    let mut key = String::new();
    if io::stdin().is_terminal() {
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let _hidden = Hidden::new()?;
        write!(io::stderr(), "Key for {server}: ")?;
        let (sender, typed) = oneshot::channel();
        // Nothing ends a read of a terminal but its user: a thread of the runtime's would be waited for.
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = sender.send(io::stdin().read_line(&mut line).map(|_| line)); // nobody waits for it any more
        });
        key = tokio::select! {
            line = typed => line.unwrap_or_else(|_| Err(io::ErrorKind::UnexpectedEof.into()))?,
            _ = int.recv() => return Err(ClientError::Cancelled),
            _ = term.recv() => return Err(ClientError::Cancelled),
        };
    } else {
        io::stdin().lock().read_to_string(&mut key)?;
    }
    match key.trim() {
        "" => Err(ClientError::BadKey),
        key => Ok(key.to_owned()),
    }
}
