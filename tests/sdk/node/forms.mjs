// One entry, both forms, with the SDKs for Node: see `../forms/test_forms.py`, which says what is asked for and why.
// `../run.py` sets the SDK_ variables.

import assert from "node:assert/strict";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const { SDK_ANTHROPIC_URL, SDK_FORMS, SDK_FORMS_BACK, SDK_OPENAI_URL } = process.env;
const FAMILIES = ["chat", "responses", "messages"];

// What the helpers of the Node SDKs make of a recorded stream: members they get wrong, or null where they raise.
const MISREAD = {
  // Of a member of the delta that the helper has not heard of it takes the last value, and joins nothing.
  "chat/annotations-in-pieces": ["annotations"],
  "chat/reasoning-deepseek": ["reasoning_content"],
  "chat/reasoning-openrouter": ["reasoning", "reasoning_details", "native_finish_reason"],
  // Padding of the stream, which it leaves in the answer.
  "chat/plain": ["obfuscation"],
  // The last event has no `output`, and the helper does without the items that came before it.
  "responses/output-in-items-only": null,
  // Members of the last event that the helper has not heard of.
  "messages/context-management": ["context_management"],
  "messages/unknown-fields": ["x_open"],
};

/** What the server said about the last answer. */
let outcome;
const options = {
  apiKey: "sk-suite",
  maxRetries: 0,
  timeout: 30_000,
  fetch: async (...request) => {
    const response = await fetch(...request);
    outcome = response.headers.get("x-llm-cache");
    return response;
  },
};
const openai = new OpenAI({ baseURL: SDK_OPENAI_URL, ...options });
const anthropic = new Anthropic({ baseURL: SDK_ANTHROPIC_URL, ...options });
const APIS = { chat: openai.chat.completions, responses: openai.responses, messages: anthropic.messages };

/**
 * The object without the members that are null: for the SDKs absent and null are one. So is a `content` that is
 * empty (beside a refusal) for the chat helper, in every stream.
 */
function plain(value, without = []) {
  if (Array.isArray(value)) return value.map((each) => plain(each, without));
  if (value === null || typeof value !== "object") return value;
  const said = ([name, member]) => (member ?? null) !== null && !(name === "content" && member === "");
  const members = Object.entries(value).filter((each) => said(each) && !without.includes(each[0]));
  return Object.fromEntries(members.map(([name, member]) => [name, plain(member, without)]));
}

function asks(family, model, prompt, stream) {
  if (family === "responses") return { model, input: prompt, store: false };
  const request = { model, messages: [{ role: "user", content: prompt }] };
  if (family === "messages") return { ...request, max_tokens: 100 };
  return stream ? { ...request, stream_options: { include_usage: true } } : request;
}

/** The object that the SDK makes of the answer. */
async function ask(family, model, prompt, stream) {
  const request = asks(family, model, prompt, stream);
  if (!stream) return APIS[family].create(request);
  const events = APIS[family].stream(request);
  if (family === "chat") return events.finalChatCompletion();
  return family === "responses" ? events.finalResponse() : events.finalMessage();
}

/** The answer as it goes over the wire, read to its end. */
async function textOf(family, model, prompt, stream) {
  const request = { ...asks(family, model, prompt, stream), ...(stream ? { stream } : {}) };
  return (await APIS[family].create(request).asResponse()).text();
}

/** Both forms of a recorded answer as the SDK reads them, and the text of the one that the server made. */
async function thereAndBack(family, name, streamFirst) {
  const [model, prompt] = [`form-${name}`, `forms of ${name} for node, stream first: ${streamFirst}`];
  let recorded;
  if (streamFirst && MISREAD[`${family}/${name}`] === null) {
    await assert.rejects(ask(family, model, prompt, streamFirst));
  } else {
    recorded = await ask(family, model, prompt, streamFirst);
  }
  assert.equal(outcome, "miss");
  // The SDK leaves a stream before its end, while it is still being kept: this one is read to it.
  await textOf(family, model, prompt, streamFirst);
  const made = await ask(family, model, prompt, !streamFirst);
  assert.equal(outcome, "hit", "the server made the other form");
  const text = await textOf(family, model, prompt, !streamFirst);
  assert.equal(outcome, "hit");
  return { recorded, made, text };
}

for (const family of FAMILIES) {
  for (const file of readdirSync(join(SDK_FORMS, family)).filter((each) => each.endsWith(".sse"))) {
    const name = file.slice(0, -".sse".length);
    for (const streamFirst of [true, false]) {
      test(`${family}/${name} is read alike, ${streamFirst ? "stream" : "JSON"} first`, async () => {
        const { recorded, made, text } = await thereAndBack(family, name, streamFirst);
        const misread = (streamFirst ? MISREAD[`${family}/${name}`] : undefined) ?? [];
        if (recorded !== undefined) {
          assert.deepEqual(plain(recorded, misread), plain(made, misread));
          if (misread.length > 0) assert.notDeepEqual(plain(recorded), plain(made), "the exception can go");
        }
        const back = `node-${name}`;
        writeFileSync(join(SDK_FORMS_BACK, family, `${back}.${streamFirst ? "json" : "sse"}`), text);
        const again = await thereAndBack(family, back, !streamFirst);
        assert.deepEqual(plain(again.recorded), plain(made));
        assert.deepEqual(plain(again.made), plain(made));
      });
    }
  }
}
