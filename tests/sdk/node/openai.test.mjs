// The OpenAI SDK for Node before the server: what it asks twice is paid for once, and reads the same.
// `../run.py` sets the SDK_ variables.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const { SDK_MOCK_URL, SDK_OPENAI_URL, SDK_SUITES } = process.env;
// 0 is without a server, 1 finds an empty store, 2 the one that 1 filled.
const RUN = Number(process.env.SDK_RUN);
const MALFORMED = "mock: the request is malformed – “naïve”";

const client = new OpenAI({ apiKey: "sk-suite", baseURL: SDK_OPENAI_URL, maxRetries: 0, timeout: 30_000 });
const parameters = { type: "object", properties: { question: { type: "string" } }, required: ["question"] };
const tools = [{ type: "function", function: { name: "look_up", parameters } }];

const said = (prompt) => `you said: ${prompt} – “ça va” 你好 🙂`;
const asks = (prompt, fields = {}) => ({ model: "gpt-mock", messages: [{ role: "user", content: prompt }], ...fields });

/** Checks the response headers against the outcome: hit, miss, … */
function saw(headers, outcome) {
  if (RUN === 0) {
    assert.equal(headers.get("x-llm-cache"), null);
    return;
  }
  assert.equal(headers.get("x-llm-cache"), outcome);
  assert.match(headers.get("x-llm-cache-key"), /^[0-9a-f]{64}$/);
  assert.match(headers.get("cache-status"), outcome === "hit" ? /;\s*hit\b/ : /;\s*fwd=/);
  if (outcome === "hit") assert.match(headers.get("age"), /^\d+$/);
}

async function collect(stream, into = []) {
  for await (const event of stream) into.push(event);
  return into;
}

/** Asks the same thing two times; `ask` gives the SDK's promise. The answer (or the list of events), checked. */
async function twice(ask, firstOutcome = RUN === 1 ? "miss" : "hit") {
  const answers = [];
  for (const outcome of [firstOutcome, "hit"]) {
    const { data, response } = await ask().withResponse();
    saw(response.headers, outcome);
    answers.push(data[Symbol.asyncIterator] ? await collect(data) : data);
  }
  // Every answer of the LLM has a fresh id: equal ones are one and the same.
  if (RUN !== 0) assert.deepEqual(answers[0], answers[1]);
  return answers[1];
}

/**
 * Asks and reads the whole body. The SDK leaves a stream at an error and not at its end: the server may
 * still be busy with it. After this it is not.
 */
async function drain(request) {
  const response = await client.chat.completions.create(request).asResponse();
  await response.text().catch(() => {});
}

/** How many calls of a kind (see `../mock_llm.py`) an action cost. */
async function callsOfLlm(kind, action) {
  const count = async () => {
    const counts = await (await fetch(`${SDK_MOCK_URL}/_count`)).json();
    return Object.values(counts[kind]).reduce((sum, each) => sum + each, 0);
  };
  const before = await count();
  await action();
  return (await count()) - before;
}

test("a plain chat is paid for once", async () => {
  const answer = await twice(() => client.chat.completions.create(asks("node plain")));
  assert.equal(answer.choices[0].message.content, said("node plain"));
  assert.ok(answer.usage.total_tokens > 0);
});

test("a streamed chat is paid for once", async () => {
  const request = asks("node streamed", { stream: true, stream_options: { include_usage: true } });
  const chunks = await twice(() => client.chat.completions.create(request));
  const deltas = chunks.map((chunk) => chunk.choices[0]?.delta.content).filter(Boolean);
  assert.equal(deltas.join(""), said("node streamed"));
  assert.equal(deltas.length, 9, "one chunk for each word, as the LLM sent them");
  assert.ok(chunks.at(-1).usage.completion_tokens > 0);
});

test("a tool call is paid for once", async () => {
  const answer = await twice(() => client.chat.completions.create(asks("node tools", { tools })));
  const call = answer.choices[0].message.tool_calls[0];
  assert.equal(call.function.name, "look_up");
  assert.deepEqual(JSON.parse(call.function.arguments), { question: "node tools", unit: "°C" });
});

test("a streamed tool call is paid for once", async () => {
  const request = asks("node streamed tools", { tools, stream: true });
  const chunks = await twice(() => client.chat.completions.create(request));
  const pieces = chunks.flatMap((chunk) => chunk.choices[0].delta.tool_calls ?? []);
  const text = pieces.map((call) => call.function.arguments).join("");
  assert.deepEqual(JSON.parse(text), { question: "node streamed tools", unit: "°C" });
  assert.equal(chunks.at(-1).choices[0].finish_reason, "tool_calls");
});

test("a completion is paid for once", async () => {
  const answer = await twice(() => client.completions.create({ model: "gpt-mock", prompt: "node completion" }));
  assert.equal(answer.choices[0].text, said("node completion"));
});

test("embeddings are paid for once", async () => {
  const input = ["node one", "node two"];
  for (const encoding of [{}, { encoding_format: "float" }]) {
    const answer = await twice(() => client.embeddings.create({ model: "text-mock", input, ...encoding }));
    assert.deepEqual(answer.data.map((item) => item.index), [0, 1]);
    for (const { embedding } of answer.data) {
      assert.equal(embedding.length, 8);
      assert.ok(embedding.every((number) => Number.isInteger(number * 256)));
    }
  }
});

test("a response is paid for once", async () => {
  const request = { model: "gpt-mock", input: "node response", store: false };
  const answer = await twice(() => client.responses.create(request));
  assert.equal(answer.output_text, said("node response"));
});

test("a streamed response is paid for once", async () => {
  const request = { model: "gpt-mock", input: "node response streamed", store: false, stream: true };
  const events = await twice(() => client.responses.create(request));
  const deltas = events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta);
  assert.equal(deltas.join(""), said("node response streamed"));
  assert.equal(events.at(-1).type, "response.completed");
});

const python = SDK_SUITES.split(" ").includes("python");
test("what the Python SDK asked is a hit for Node", { skip: RUN === 0 || !python }, async () => {
  const answer = await twice(() => client.chat.completions.create(asks("python plain")), "hit");
  assert.equal(answer.choices[0].message.content, said("python plain"));
});

for (const [status, kind, type, message] of [
  [400, OpenAI.BadRequestError, "invalid_request_error", MALFORMED],
  [401, OpenAI.AuthenticationError, "authentication_error", "mock: the credential is not valid"],
  [429, OpenAI.RateLimitError, "rate_limit_error", "mock: too many requests, try again"],
  [500, OpenAI.InternalServerError, "server_error", "mock: the model fell over"],
]) {
  for (const stream of [false, true]) {
    test(`a ${stream ? "streamed" : "plain"} error ${status} is raised as it came, and never kept`, async () => {
      const request = asks(`node error ${status}`, { model: `error-${status}`, stream });
      const calls = await callsOfLlm("errors", async () => {
        for (let attempt = 0; attempt < 2; attempt++) {
          await assert.rejects(client.chat.completions.create(request), (error) => {
            assert.ok(error instanceof kind, `${error.constructor.name} was raised`);
            assert.equal(error.status, status);
            assert.deepEqual(error.error, { message, type, param: null, code: `mock_${status}` });
            assert.notEqual(error.headers.get("x-llm-cache"), "hit");
            return true;
          });
        }
      });
      assert.equal(calls, 2);
    });
  }
}

for (const [model, what] of [
  ["error-stream", (error) => error instanceof OpenAI.APIError && /the model fell over/.test(error.message)],
  ["error-cut", (error) => error instanceof Error],
]) {
  test(`a stream that breaks (${model}) ends as broken, and is not kept`, async () => {
    const request = asks(`node ${model}`, { model, stream: true });
    for (let attempt = 0; attempt < 2; attempt++) {
      if (attempt > 0) await drain(request);
      const calls = await callsOfLlm("errors", async () => {
        const chunks = [];
        const { data, response } = await client.chat.completions.create(request).withResponse();
        assert.notEqual(response.headers.get("x-llm-cache"), "hit");
        await assert.rejects(collect(data, chunks), what);
        assert.equal(chunks.at(-1).choices[0].delta.content, "half an ans");
      });
      assert.equal(calls, 1);
    }
  });
}
