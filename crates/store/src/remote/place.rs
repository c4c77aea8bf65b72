//! From a URL to the objects behind it. The only file that knows which services there are.

use std::path::Path as FilePath;
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::{Patience, Settings};
use crate::{StoreError, disk};

const SCHEMES: &str = "give a folder, file://, s3://BUCKET/PREFIX, http(s)://, gs:// or az://";
const OPTIONS: &str = "check the URL and the service's environment variables (AWS_ENDPOINT, AWS_ALLOW_HTTP, ...)";

/// Objects, and where ours begin among them.
pub(super) struct Place {
    pub objects: Arc<dyn ObjectStore>,
    pub root: Path,
    /// Whether it can tell what is there; a plain HTTP server cannot.
    pub lists: bool,
}

pub(super) fn find(settings: &Settings) -> Result<Place, StoreError> {
    let (scheme, rest) = settings.url.split_once("://").unwrap_or(("file", &settings.url));
    match scheme {
        "file" => folder(settings, FilePath::new(rest)),
        "s3" | "s3a" => Ok(place(Arc::new(s3(settings).map_err(refused(settings))?), rest)),
        "http" | "https" => {
            let objects = Arc::new(http(settings).map_err(refused(settings))?);
            Ok(Place { objects, root: Path::default(), lists: false })
        }
        "gs" => google(settings, rest),
        "az" | "abfs" | "abfss" => azure(settings, rest),
        other => Err(wrong(settings, format!("`{other}://` is no kind of remote"), SCHEMES)),
    }
}

/// `rest` is what follows the scheme: the bucket, and below it our root.
fn place(objects: Arc<dyn ObjectStore>, rest: &str) -> Place {
    let root = rest.split_once('/').map_or("", |(_, root)| root);
    Place { objects, root: Path::from(root), lists: true }
}

fn folder(settings: &Settings, path: &FilePath) -> Result<Place, StoreError> {
    if settings.mode.writes() {
        disk::make_folders(path)
            .map_err(|error| wrong(settings, error.to_string(), "name a folder that can be written"))?;
    }
    if !path.is_dir() {
        return Err(wrong(settings, "there is no such folder".into(), "make it, or push to it first"));
    }
    let objects = LocalFileSystem::new_with_prefix(path).map_err(refused(settings))?.with_fsync(true);
    Ok(Place { objects: Arc::new(objects), root: Path::default(), lists: true })
}

fn s3(settings: &Settings) -> object_store::Result<impl ObjectStore + use<>> {
    let builder = AmazonS3Builder::new()
        .with_url(&settings.url)
        .with_retry(retry(&settings.patience))
        .with_client_options(client(&settings.patience));
    configured(settings, builder, AmazonS3Builder::with_config).build()
}

fn http(settings: &Settings) -> object_store::Result<impl ObjectStore + use<>> {
    let options = client(&settings.patience).with_allow_http(true);
    HttpBuilder::new()
        .with_url(&settings.url)
        .with_retry(retry(&settings.patience))
        .with_client_options(options)
        .build()
}

#[cfg(feature = "gcs")]
fn google(settings: &Settings, rest: &str) -> Result<Place, StoreError> {
    use object_store::gcp::GoogleCloudStorageBuilder as Builder;
    let builder = Builder::new()
        .with_url(&settings.url)
        .with_retry(retry(&settings.patience))
        .with_client_options(client(&settings.patience));
    let objects = configured(settings, builder, Builder::with_config).build().map_err(refused(settings))?;
    Ok(place(Arc::new(objects), rest))
}

#[cfg(not(feature = "gcs"))]
fn google(settings: &Settings, _: &str) -> Result<Place, StoreError> {
    Err(wrong(settings, "this program was built without Google Cloud Storage".into(), "build it with --features gcs"))
}

#[cfg(feature = "azure")]
fn azure(settings: &Settings, rest: &str) -> Result<Place, StoreError> {
    use object_store::azure::MicrosoftAzureBuilder as Builder;
    let builder = Builder::new()
        .with_url(&settings.url)
        .with_retry(retry(&settings.patience))
        .with_client_options(client(&settings.patience));
    let objects = configured(settings, builder, Builder::with_config).build().map_err(refused(settings))?;
    Ok(place(Arc::new(objects), rest))
}

#[cfg(not(feature = "azure"))]
fn azure(settings: &Settings, _: &str) -> Result<Place, StoreError> {
    Err(wrong(settings, "this program was built without Azure Blob Storage".into(), "build it with --features azure"))
}

/// Passes on the options that the service knows; they come from an environment, where others lie too.
fn configured<B, K: std::str::FromStr>(settings: &Settings, builder: B, with: fn(B, K, String) -> B) -> B {
    settings.options.iter().fold(builder, |builder, (name, value)| match name.to_ascii_lowercase().parse() {
        Ok(key) => with(builder, key, value.clone()),
        Err(_) => builder,
    })
}

/// No limit on a whole request: a large blob takes its time, as long as something arrives.
fn client(patience: &Patience) -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(patience.connect)
        .with_read_timeout(patience.silence)
}

fn retry(patience: &Patience) -> RetryConfig {
    let backoff = BackoffConfig { init_backoff: patience.pause, max_backoff: 8 * patience.pause, base: 2.0 };
    RetryConfig { backoff, max_retries: patience.retries, retry_timeout: patience.silence }
}

fn refused(settings: &Settings) -> impl FnOnce(object_store::Error) -> StoreError + '_ {
    move |error| wrong(settings, error.to_string(), OPTIONS)
}

fn wrong(settings: &Settings, why: String, remedy: &'static str) -> StoreError {
    StoreError::Remote { url: settings.url.clone(), why, remedy }
}
