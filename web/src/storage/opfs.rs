//! The folder of models in the browser's private file system.

use js_sys::IteratorNext;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    File, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions,
    FileSystemGetFileOptions, FileSystemRemoveOptions, FileSystemSyncAccessHandle, StorageManager,
};

const NAME: &str = "thimble-models";

/// The folder; there is none in browsers without OPFS and in some private windows.
pub struct Folder(FileSystemDirectoryHandle);

impl Folder {
    /// The folder, made if needed.
    pub async fn open() -> Option<Self> {
        let options = FileSystemGetDirectoryOptions::new();
        options.set_create(true);
        let root = root().await?;
        let folder = JsFuture::from(root.get_directory_handle_with_options(NAME, &options))
            .await
            .ok()?;
        Some(Self(folder.unchecked_into()))
    }

    /// Deletes the folder with all that is in it.
    pub async fn delete() {
        let options = FileSystemRemoveOptions::new();
        options.set_recursive(true);
        if let Some(root) = root().await {
            let _ = JsFuture::from(root.remove_entry_with_options(NAME, &options)).await;
        }
    }

    /// A model's file, if it is complete.
    pub async fn whole(&self, key: &str) -> Option<File> {
        JsFuture::from(self.0.get_file_handle(&marker(key)))
            .await
            .ok()?;
        self.file(key).await
    }

    /// Says that a model's file is complete.
    pub async fn mark_whole(&self, key: &str) {
        let _ = self.handle(&marker(key)).await;
    }

    /// A model's file as far as it is there.
    pub async fn file(&self, key: &str) -> Option<File> {
        let handle = JsFuture::from(self.0.get_file_handle(key)).await.ok()?;
        let handle: FileSystemFileHandle = handle.unchecked_into();
        Some(
            JsFuture::from(handle.get_file())
                .await
                .ok()?
                .unchecked_into(),
        )
    }

    /// Bytes of a model's file.
    pub async fn size(&self, key: &str) -> Option<u64> {
        Some(self.file(key).await?.size() as u64)
    }

    /// Deletes a model's file.
    pub async fn remove(&self, key: &str) {
        let _ = JsFuture::from(self.0.remove_entry(&marker(key))).await;
        let _ = JsFuture::from(self.0.remove_entry(key)).await;
    }

    /// A model's file for writing, made if needed. Fails while another tab writes it.
    pub async fn writer(&self, key: &str) -> Result<FileSystemSyncAccessHandle, JsValue> {
        let handle = self.handle(key).await?;
        Ok(JsFuture::from(handle.create_sync_access_handle())
            .await?
            .unchecked_into())
    }

    /// What the folder holds.
    pub async fn names(&self) -> Vec<String> {
        let keys = self.0.keys();
        let mut names = Vec::new();
        while let Ok(promise) = keys.next() {
            let Ok(next) = JsFuture::from(promise).await else {
                break;
            };
            let next: IteratorNext = next.unchecked_into();
            if next.done() {
                break;
            }
            names.extend(next.value().as_string());
        }
        names
    }

    /// A small file's text.
    pub async fn read(&self, name: &str) -> Option<String> {
        let text = JsFuture::from(self.file(name).await?.text()).await;
        text.ok()?.as_string()
    }

    /// Replaces a small file; false if the browser does not let us.
    pub async fn write(&self, name: &str, text: &str) -> bool {
        let Ok(writer) = self.writer(name).await else {
            return false;
        };
        let cleared = writer.truncate_with_u32(0).is_ok();
        let written = writer.write_with_u8_array(text.as_bytes());
        let _ = writer.flush();
        writer.close();
        cleared && written.is_ok_and(|n| n as usize == text.len())
    }

    async fn handle(&self, name: &str) -> Result<FileSystemFileHandle, JsValue> {
        let options = FileSystemGetFileOptions::new();
        options.set_create(true);
        Ok(
            JsFuture::from(self.0.get_file_handle_with_options(name, &options))
                .await?
                .unchecked_into(),
        )
    }
}

fn marker(key: &str) -> String {
    format!("{key}.whole")
}

async fn root() -> Option<FileSystemDirectoryHandle> {
    // On plain http, other than localhost, there is no `navigator.storage`.
    let storage = js_sys::Reflect::get(&super::scope().navigator(), &"storage".into()).ok()?;
    let storage: StorageManager = storage.is_object().then(|| storage.unchecked_into())?;
    js_sys::Reflect::get(&storage, &"getDirectory".into())
        .ok()
        .filter(JsValue::is_function)?;
    Some(
        JsFuture::from(storage.get_directory())
            .await
            .ok()?
            .unchecked_into(),
    )
}
