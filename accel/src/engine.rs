//! The engine: a model file, its text rules and the scheduler, put together.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::decoder::Decoder;
use crate::embedding::{Embedder, Pooling};
use crate::error::{Error, Result};
use crate::fault;
use crate::gguf::Gguf;
use crate::kernels::{CacheFormat, Isa};
use crate::model::{self, Model};
use crate::request::{Message, Options, Request, Sampling, ToolCall};
use crate::sched::{Job, Limits, Reader, Scheduler};
use crate::scoring::{Scores, Scoring};
use crate::speech::Speech;
use crate::text::{self, Chat, Constraints, Prompt, Sampler, Template, TextStream, Tokenizer};

/// What is loaded: `LoadedModel` of `inference_node/engines/engine.py`.
#[derive(Debug, Clone, Serialize)]
pub struct Description {
    /// The most tokens of prompt and answer together.
    pub context: usize,
    pub slots: usize,
    pub can_embed: bool,
    pub architecture: String,
    pub quantisation: String,
    pub instructions: String,
    pub threads: usize,
}

/// One loaded model, for any number of threads.
pub struct Engine {
    work: Work,
    vocabulary: usize,
    tokenizer: Arc<Tokenizer>,
    template: Template,
    constraints: Constraints,
    description: Description,
}

/// What a model is for.
enum Work {
    Answers(Scheduler),
    Embeddings(Box<Embedder>),
}

impl Engine {
    /// Loads a GGUF file. `progress` hears bytes done and in all, and says whether to go on.
    ///
    /// # Errors
    /// `Damaged`, `Unsupported`, `OutOfMemory`; `Failed` when `progress` ends it.
    pub fn load(path: &Path, options: &Options, progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<Self> {
        fault::maybe("load");
        let gguf = Gguf::open(path)?;
        let tokenizer = Arc::new(Tokenizer::from_gguf(&gguf)?);
        let template = Template::from_gguf(&gguf, &tokenizer)?;
        let pooling = Pooling::from_gguf(&gguf)?;
        let cores = || available_parallelism().map_or(1, usize::from);
        let wanted = model::Options {
            threads: if options.threads == 0 { cores() } else { options.threads },
            context: Some(options.context),
            cache_bytes: options.cache_bytes,
            cache: CacheFormat::named(&options.cache)?,
            isa: options.instructions.as_deref().map(Isa::named).transpose()?,
            states: pooling.is_some(),
        };
        let mut all = 0;
        let model = Model::load(&gguf, wanted, &mut |done, total| {
            all = total;
            if progress(done, total) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        // Small tensors come without a report of their own.
        progress(all, all);
        let (loaded, vocabulary) = (model.describe(), model.vocabulary());
        let (work, context, slots) = if let Some(pooling) = pooling {
            (Work::Embeddings(Box::new(Embedder::new(model, pooling))), loaded.context, 1)
        } else {
            let slots = options.slots.max(1);
            // What all slots take at their longest is enough: kept prompts live in what those leave.
            let longest = model.cache_bytes_for(loaded.context).saturating_add(model.cache_bytes_for(1));
            let cache_bytes = loaded.cache_bytes.min(longest.saturating_mul(slots));
            let scheduler = Scheduler::start(model, Limits { cache_bytes, generations: slots })?;
            let context = scheduler.context();
            (Work::Answers(scheduler), context, slots)
        };
        let description = Description {
            context,
            slots,
            can_embed: pooling.is_some(),
            architecture: loaded.architecture.to_owned(),
            quantisation: format!("{:?}", loaded.quantization),
            instructions: loaded.isa.to_uppercase(),
            threads: loaded.threads,
        };
        let constraints = Constraints::new(Arc::clone(&tokenizer));
        Ok(Self { work, vocabulary, tokenizer, template, constraints, description })
    }

    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Begins an answer.
    ///
    /// # Errors
    /// `TooLong` before any work, `BadRequest` for messages, sampling or a schema that can't be used, `Unsupported` for
    /// a model that makes embeddings, `Failed`.
    pub fn start(&self, request: Request) -> Result<Reader> {
        fault::maybe("start");
        let prompt = self.prompt(&request)?;
        let mut sampler = Sampler::new(sampling(&request.sampling, request.logprobs))?;
        sampler.read(&prompt);
        let constraint = match &request.schema {
            Some(schema) => Some(self.constraints.json_schema(&parsed("schema", schema)?)?),
            None => None,
        };
        let tokenizer = Arc::clone(&self.tokenizer);
        let voice = Speech { tokenizer, sampler, constraint, stream: TextStream::new(request.stop) };
        self.scheduler()?.submit(Job {
            owner: (!request.owner.is_empty()).then_some(request.owner),
            prompt,
            room: request.room,
            most_tokens: request.sampling.max_tokens.unwrap_or(usize::MAX).max(1),
            voice: Box::new(voice),
            speculate: request.speculate,
        })
    }

    /// Returns the tokens of a text, with those that the model wants at its beginning and end.
    #[must_use]
    pub fn tokenize(&self, text: &str, parse_special: bool) -> Vec<u32> {
        self.tokenizer.encode(text, true, parse_special)
    }

    /// Returns the natural log-probability of each token but the first, given those before it.
    ///
    /// # Errors
    /// `TooLong`, `BadRequest` for tokens that are none, `Failed`.
    pub fn score(&self, mut tokens: Vec<u32>) -> Result<Vec<f32>> {
        if tokens.len() < 2 {
            return Ok(Vec::new());
        }
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= self.vocabulary) {
            return Err(Error::BadRequest(format!("there is no token {token}")));
        }
        let forced = tokens.split_off(1);
        let scores = Scores::default();
        let reader = self.scheduler()?.submit(Job {
            owner: None,
            prompt: tokens,
            room: forced.len(),
            most_tokens: forced.len(),
            voice: Box::new(Scoring::new(forced, scores.clone())),
            speculate: false,
        })?;
        while reader.next(Duration::MAX, Duration::ZERO)?.is_none_or(|events| !events.is_empty()) {}
        Ok(scores.take())
    }

    /// Returns a text's vector, of length 1, and how many tokens it took.
    ///
    /// # Errors
    /// `Unsupported` for a model that answers, `TooLong`, `BadRequest` for an empty text, `OutOfMemory`, `Failed`.
    pub fn embed(&self, text: &str) -> Result<(Vec<f32>, usize)> {
        let Work::Embeddings(embedder) = &self.work else {
            return Err(Error::Unsupported("this model answers and makes no embeddings".into()));
        };
        let tokens = self.tokenizer.encode(text, true, true);
        Ok((embedder.embed(&tokens)?, tokens.len()))
    }

    /// Stops every answer and gives the memory back; whoever holds the engine still gets `Failed` from it.
    pub fn close(&self) {
        if let Work::Answers(scheduler) = &self.work {
            scheduler.close();
        }
    }

    fn scheduler(&self) -> Result<&Scheduler> {
        match &self.work {
            Work::Answers(scheduler) => Ok(scheduler),
            Work::Embeddings(_) => {
                Err(Error::Unsupported("this model makes embeddings and no answers".into()))
            }
        }
    }

    /// Returns the tokens of the prompt that a request makes.
    ///
    /// # Errors
    /// `BadRequest` for messages that the template refuses, `Unsupported`.
    pub fn prompt(&self, request: &Request) -> Result<Vec<u32>> {
        let prompt = match &request.text {
            // Raw text stands in for a template: its control tokens are meant.
            Some(text) if request.messages.is_empty() => Prompt { text: text.clone(), literal: Vec::new() },
            Some(_) => return Err(Error::BadRequest("either messages or text, not both".into())),
            None => self.template.prompt(&chat(request)?, &self.tokenizer)?,
        };
        Ok(self.tokenizer.encode_prompt(&prompt))
    }
}

fn chat(request: &Request) -> Result<Chat> {
    let tools = match request.tools.as_deref().map(|tools| parsed("tools", tools)).transpose()? {
        None => Vec::new(),
        Some(Value::Array(tools)) => tools,
        Some(_) => return Err(Error::BadRequest("tools are a list".into())),
    };
    Ok(Chat {
        messages: request.messages.iter().map(message).collect(),
        tools,
        add_generation_prompt: true,
        options: Map::new(),
    })
}

fn message(message: &Message) -> text::Message {
    let call = |call: &ToolCall| json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}});
    text::Message {
        tool_calls: message.tool_calls.iter().map(call).collect(),
        tool_call_id: message.tool_call_id.clone(),
        name: message.name.clone(),
        ..text::Message::new(&message.role, &message.content)
    }
}

fn parsed(name: &str, json: &str) -> Result<Value> {
    serde_json::from_str(json).map_err(|error| Error::BadRequest(format!("{name} is no JSON: {error}")))
}

fn sampling(asked: &Sampling, logprobs: Option<usize>) -> text::Sampling {
    let default = text::Sampling::default();
    text::Sampling {
        temperature: asked.temperature.unwrap_or(default.temperature),
        top_k: asked.top_k.unwrap_or(default.top_k),
        top_p: asked.top_p.unwrap_or(default.top_p),
        min_p: asked.min_p.unwrap_or(default.min_p),
        repetition_penalty: asked.repeat_penalty.unwrap_or(default.repetition_penalty),
        presence_penalty: asked.presence_penalty.unwrap_or(default.presence_penalty),
        frequency_penalty: asked.frequency_penalty.unwrap_or(default.frequency_penalty),
        seed: asked.seed.map(u64::from),
        log_probabilities: logprobs,
        ..default
    }
}
