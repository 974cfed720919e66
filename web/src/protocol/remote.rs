//! A model on the web: what the catalog says of it, and where its files are.

use hub::Repository;
use serde::{Deserialize, Serialize};

/// A model on the web.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// Short name for `?model=` and settings.
    pub id: String,
    /// What the page calls it.
    pub name: String,
    /// Where its files are.
    #[serde(flatten)]
    pub place: Place,
    /// Size of all files, where the place does not tell it.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// SPDX licence name, where known.
    #[serde(default)]
    pub licence: Option<String>,
    /// What a visitor should know before talking to it: whole sentences.
    #[serde(default)]
    pub about: Option<String>,
    /// It comes with the page, and so small that it loads without being asked for.
    #[serde(default)]
    pub bundled: bool,
}

/// Where the files of a model on the web are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Place {
    /// These: one GGUF, or a safetensors folder's.
    Files {
        /// One or more.
        files: Vec<WebFile>,
    },
    /// A repository on the hub; its own list says which files there are.
    Hub {
        /// `owner/name`, `owner/name@revision`, `owner/name/file.gguf`.
        repository: Box<Repository>,
        /// The hub's address.
        #[serde(default = "public_hub")]
        site: String,
    },
}

fn public_hub() -> String {
    hub::SITE.to_owned()
}

/// A file on the web.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebFile {
    /// Its name; empty where its address ends with it.
    pub name: String,
    /// Address, relative to the page or absolute.
    pub url: String,
    /// Size, where known.
    pub bytes: Option<u64>,
    /// Hexadecimal SHA-256, where known.
    pub sha256: Option<String>,
}

impl WebFile {
    /// Its name within the model.
    pub fn name(&self) -> &str {
        match self.name.as_str() {
            "" => self.url.rsplit('/').next().unwrap_or(&self.url),
            name => name,
        }
    }
}

impl Remote {
    /// A repository of which only the name is known.
    pub fn hub(repository: Repository, site: String) -> Self {
        let name = repository.to_string();
        let repository = Box::new(repository);
        Self::unlisted(name.clone(), name, Place::Hub { repository, site })
    }

    /// A file of which only the address is known.
    pub fn file(url: &str) -> Self {
        let path = url.split(['?', '#']).next().unwrap_or(url);
        let name = path.rsplit('/').find(|part| !part.is_empty());
        let name = name.unwrap_or(url);
        let name = name.strip_suffix(".gguf").unwrap_or(name).to_owned();
        let file = WebFile {
            url: url.to_owned(),
            ..WebFile::default()
        };
        let files = vec![file];
        Self::unlisted(url.to_owned(), name, Place::Files { files })
    }

    fn unlisted(id: String, name: String, place: Place) -> Self {
        Self {
            id,
            name,
            place,
            bytes: None,
            licence: None,
            about: None,
            bundled: false,
        }
    }

    /// Size of all files, where known.
    pub fn size(&self) -> Option<u64> {
        match &self.place {
            Place::Files { files } => files.iter().map(|file| file.bytes).sum(),
            Place::Hub { .. } => self.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_names_files_and_repositories() {
        let json = r#"[
            {"id":"a","name":"A","bundled":true,"licence":"MIT","source":"x","files":[
                {"url":"models/a/config.json","bytes":9,"sha256":"ff"},{"url":"models/a/model.safetensors","bytes":8}]},
            {"id":"b","name":"B","repository":"owner/name@v1"}]"#;
        let models: Vec<Remote> = serde_json::from_str(json).unwrap();
        let Place::Files { files } = &models[0].place else {
            panic!("{models:?}")
        };
        let names: Vec<&str> = files.iter().map(WebFile::name).collect();
        assert_eq!(names, ["config.json", "model.safetensors"]);
        assert_eq!(files[0].sha256.as_deref(), Some("ff"));
        assert_eq!((models[0].size(), models[0].bundled), (Some(17), true));
        let Place::Hub { repository, site } = &models[1].place else {
            panic!("{models:?}")
        };
        assert_eq!(
            (repository.to_string().as_str(), site.as_str()),
            ("owner/name@v1", hub::SITE)
        );
        assert_eq!((models[1].size(), models[1].bundled), (None, false));
        for model in models {
            let json = serde_json::to_string(&model).unwrap();
            assert_eq!(serde_json::from_str::<Remote>(&json).unwrap(), model);
        }
        let nowhere = r#"{"id":"c","name":"C"}"#;
        assert!(serde_json::from_str::<Remote>(nowhere).is_err());
    }

    #[test]
    fn the_catalog_of_the_project_can_be_read() {
        let json = include_str!("../../../models/catalog.json");
        let models: Vec<Remote> = serde_json::from_str(json).unwrap();
        let bundled: Vec<&str> = models
            .iter()
            .filter(|model| model.bundled)
            .map(|model| model.id.as_str())
            .collect();
        assert_eq!(bundled, ["thimble"]);
        assert_eq!(models[0].id, "thimble", "it is offered first");
    }
}
