//! One running `lore`, as a user would have it: the real binary, its own folders, port 0.

use anyhow::{Context, Result, anyhow, bail};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a server may take until it is ready, models loaded.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A server process; killed when dropped.
pub struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    http: reqwest::Client,
    log: PathBuf,
}

impl Server {
    /// Starts `lore serve ARGS` on `data_dir` and waits until it listens.
    pub fn start(data_dir: &Path, args: &[&str], envs: &[(&str, &str)]) -> Result<Self> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(data_dir.join("server.log"))?;
        let mut command = Command::new(lore()?);
        command
            .arg("serve")
            .args(args)
            .env("LORE_DATA_DIR", data_dir)
            .env("LORE_LISTEN", "127.0.0.1:0");
        command
            .env("LORE_MODELS_GENERATOR", "smollm2-135m-instruct")
            .env("LORE_MODELS_EMBEDDER", "all-minilm-l6-v2");
        command
            .envs(envs.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().context("cannot start the lore binary")?;
        let stdout = child.stdout.take().context("the child has no stdout")?;
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("listening on ") {
                    let _ = send.send(url.trim().to_owned());
                }
            }
        });
        let Ok(url) = receive.recv_timeout(READY_WITHIN) else {
            let _ = child.kill();
            let log = std::fs::read_to_string(data_dir.join("server.log")).unwrap_or_default();
            bail!("the server never said where it listens; its log:\n{log}");
        };
        Ok(Self {
            child,
            url,
            http: client(envs)?,
            log: data_dir.join("server.log"),
        })
    }

    /// Waits until `/readyz` answers 200.
    pub async fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the server ended with {status}; its log:\n{}",
                    std::fs::read_to_string(&self.log)?
                );
            }
            let answer = self.http.get(format!("{}/readyz", self.url)).send().await;
            match answer {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) if Instant::now() > deadline => {
                    bail!("not ready: {}", answer.text().await?)
                }
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// `GET path`, which has to succeed.
    pub async fn get(&self, path: &str) -> Result<Value> {
        checked(self.http.get(format!("{}{path}", self.url)).send().await?).await
    }

    /// `GET path` as text, which has to succeed.
    pub async fn text(&self, path: &str) -> Result<String> {
        Ok(self
            .http
            .get(format!("{}{path}", self.url))
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?)
    }

    /// `POST path`, which has to succeed.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        checked(
            self.http
                .post(format!("{}{path}", self.url))
                .json(body)
                .send()
                .await?,
        )
        .await
    }

    /// `DELETE path`, which has to succeed.
    pub async fn delete(&self, path: &str) -> Result<Value> {
        checked(
            self.http
                .delete(format!("{}{path}", self.url))
                .send()
                .await?,
        )
        .await
    }

    /// Uploads files in one multipart request and returns what the server says of each.
    pub async fn upload(&self, collection: &str, files: &[PathBuf]) -> Result<Vec<Value>> {
        let mut form = Form::new();
        for path in files {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .context("a file without a name")?
                .to_owned();
            form = form.part("file", Part::bytes(std::fs::read(path)?).file_name(name));
        }
        let url = format!("{}/v1/collections/{collection}/documents", self.url);
        let answer = checked(self.http.post(url).multipart(form).send().await?).await?;
        Ok(answer["data"]
            .as_array()
            .context("no `data` in the answer to an upload")?
            .clone())
    }

    /// `GET path` as bytes, which has to succeed.
    pub async fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await?;
        Ok(answer.error_for_status()?.bytes().await?.to_vec())
    }

    /// Uploads a data set for fine-tuning.
    pub async fn file(&self, name: &str, bytes: Vec<u8>) -> Result<Value> {
        let part = Part::bytes(bytes).file_name(name.to_owned());
        let form = Form::new().text("purpose", "fine-tune").part("file", part);
        checked(
            self.http
                .post(format!("{}/v1/files", self.url))
                .multipart(form)
                .send()
                .await?,
        )
        .await
    }

    /// Imports an adapter: PEFT's two files.
    pub async fn import(
        &self,
        name: &str,
        base: &str,
        files: Vec<(String, Vec<u8>)>,
    ) -> Result<Value> {
        let mut form = Form::new()
            .text("name", name.to_owned())
            .text("base", base.to_owned());
        for (file, bytes) in files {
            form = form.part("file", Part::bytes(bytes).file_name(file));
        }
        checked(
            self.http
                .post(format!("{}/v1/adapters", self.url))
                .multipart(form)
                .send()
                .await?,
        )
        .await
    }

    /// Waits until a job is over and returns it.
    pub async fn job(&self, id: &str) -> Result<Value> {
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            let job = self.get(&format!("/v1/jobs/{id}")).await?;
            if ["succeeded", "failed", "cancelled"]
                .contains(&job["status"].as_str().unwrap_or_default())
            {
                return Ok(job);
            }
            if Instant::now() > deadline {
                bail!("job {id} did not end: {job}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Uploads files and waits until all of them can be found.
    pub async fn ingest(&self, collection: &str, files: &[PathBuf]) -> Result<()> {
        for accepted in self.upload(collection, files).await? {
            let job = self
                .job(accepted["job_id"].as_str().context("no job id")?)
                .await?;
            if job["status"] != json!("succeeded") {
                bail!("{} was not ingested: {job}", accepted["name"]);
            }
        }
        Ok(())
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that sends the server's API key, where it was given one.
fn client(envs: &[(&str, &str)]) -> Result<reqwest::Client> {
    let mut headers = reqwest::header::HeaderMap::new();
    if let Some((_, key)) = envs.iter().find(|(name, _)| *name == "LORE_API_KEY") {
        headers.insert(
            reqwest::header::AUTHORIZATION,
            format!("Bearer {key}").parse()?,
        );
    }
    Ok(reqwest::Client::builder()
        .default_headers(headers)
        .build()?)
}

async fn checked(answer: reqwest::Response) -> Result<Value> {
    let (status, url) = (answer.status(), answer.url().clone());
    let body = answer.text().await?;
    if !status.is_success() {
        bail!("{url} answered {status}: {body}");
    }
    serde_json::from_str(&body)
        .with_context(|| format!("{url} answered something that is not JSON: {body}"))
}

/// The `lore` binary that this build made.
pub fn lore() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let built = test
        .ancestors()
        .nth(2)
        .map(|folder| folder.join("lore"))
        .filter(|path| path.exists());
    built.ok_or_else(|| {
        anyhow!("the lore binary is not built; run `cargo build` or `tests/run` first")
    })
}
