use std::fmt;

use sha2::{Digest, Sha256};

use super::{Invalid, TenantId, UserId};

/// What a credential is good for. Each stands for itself: `admin` does not contain the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    /// Looking at people, pools, jobs and models.
    Read = 1,
    /// Asking questions, and logging, taking back answers.
    Feedback = 2,
    /// Completions and rankings.
    Generate = 4,
    /// Importing data, and training.
    Train = 8,
    /// What cannot be taken back, or changes everybody: erasing people, deleting pools, activating models.
    Admin = 16,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Read, Self::Feedback, Self::Generate, Self::Train, Self::Admin];

    /// Its name, as credentials spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Feedback => "feedback",
            Self::Generate => "generate",
            Self::Train => "train",
            Self::Admin => "admin",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope.
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Takes names with commas between them, at least one.
    pub fn parse(names: &str) -> Result<Self, Invalid> {
        let scopes: Option<Self> = names.split(',').map(|name| Scope::of(name.trim())).collect();
        scopes.ok_or_else(|| {
            Invalid::new("scopes", format!("{names:?}"), "some of read,feedback,generate,train,admin")
        })
    }

    /// From names with spaces between them, as tokens have them. Other names mean other services, and nothing here.
    pub fn of_claim(names: &str) -> Self {
        names.split_ascii_whitespace().filter_map(Scope::of).collect()
    }

    /// Whether the scope is among them.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & scope as u8 != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | scope as u8))
    }
}

/// Names with commas between them.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            Scope::ALL.into_iter().filter(|&scope| self.contains(scope)).map(Scope::as_str).collect();
        f.write_str(&names.join(","))
    }
}

impl std::str::FromStr for Scopes {
    type Err = Invalid;

    fn from_str(names: &str) -> Result<Self, Invalid> {
        Self::parse(names)
    }
}

/// Who calls: what a credential says, and all that decides what a call may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose data.
    pub tenant: TenantId,
    /// What it may do.
    pub scopes: Scopes,
    /// The one person whom its calls are about, where it is bound to one.
    pub user: Option<UserId>,
}

impl Caller {
    /// Whoever reaches a server without authentication: the default tenant's, free to do anything.
    pub fn anybody() -> Self {
        Self { tenant: TenantId::default_tenant(), scopes: Scopes::all(), user: None }
    }
}

/// Hexadecimal digits of a key's id and of its secret part: 8 and 32 random bytes.
const ID_DIGITS: usize = 16;
const SECRET_DIGITS: usize = 64;

/// An API key as its holder has it: `pref_<id>_<secret>`, both in lower-case hexadecimal.
///
/// The id finds the key's row. The 256 random bits of the secret cannot be guessed, so that a plain SHA-256 of the whole
/// is as good at rest as a slow salted hash, and takes a call no time.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// A new one from the system's randomness.
    pub fn generate() -> Self {
        let (id, secret): ([u8; 8], [u8; 32]) = (rand::random(), rand::random());
        Self(format!("pref_{}_{}", hex::encode(id), hex::encode(secret)))
    }

    /// Takes the form above. What was given is not repeated: it may be a key all the same.
    pub fn parse(given: &str) -> Result<Self, Invalid> {
        let is_hex = |part: &str, digits| {
            part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let parts = given.strip_prefix("pref_").and_then(|rest| rest.split_once('_'));
        match parts {
            Some((id, secret)) if is_hex(id, ID_DIGITS) && is_hex(secret, SECRET_DIGITS) => {
                Ok(Self(given.to_owned()))
            }
            _ => Err(Invalid::new("api_key", "something else", "a key as `pref keys create` prints it")),
        }
    }

    /// The part that is no secret.
    pub fn id(&self) -> &str {
        &self.0["pref_".len()..][..ID_DIGITS]
    }

    /// SHA-256 of the whole key: what is stored.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The whole key, to be shown to its holder.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Prints no secret.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}, ..)", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_named_and_stand_for_themselves() {
        let scopes = Scopes::parse("train, read").unwrap();
        assert_eq!(scopes.to_string(), "read,train");
        assert!(scopes.contains(Scope::Read) && !scopes.contains(Scope::Feedback));
        let admin = Scopes::parse("admin").unwrap();
        assert!(Scope::ALL.into_iter().all(|scope| admin.contains(scope) == (scope == Scope::Admin)));
        assert!(Scope::ALL.into_iter().all(|scope| Scopes::all().contains(scope)));
        for bad in ["", "read,", "write", "READ"] {
            assert_eq!(Scopes::parse(bad).unwrap_err().field, "scopes", "{bad:?}");
        }
        assert_eq!(Scopes::of_claim("openid read  pref:all generate").to_string(), "read,generate");
    }

    #[test]
    fn a_key_is_its_form_and_is_not_printed() {
        let key = ApiKey::generate();
        let again = ApiKey::parse(key.expose()).unwrap();
        assert_eq!((again.id(), again.digest()), (key.id(), key.digest()));
        assert_ne!(ApiKey::generate().digest(), key.digest());
        assert!(!format!("{key:?}").contains(&key.expose()[22..]), "{key:?}");
        let cut = &key.expose()[..key.expose().len() - 1];
        let upper = key.expose().to_uppercase();
        for bad in ["", "pref_", cut, &format!("{}0", key.expose()), &upper, "sk-123", "pref_é_"] {
            let error = ApiKey::parse(bad).unwrap_err().to_string();
            assert!(bad.len() < 8 || !error.contains(bad), "{error}");
        }
    }
}
