// Checks objects of the Prometheus operator, a JSON list on standard input, against the schemas made from its Go
// types. Prints a problem a line. NODE_TOOLS: the directory with node_modules.
//
// The schemas let unknown fields pass, and Kubernetes drops those without a word. A schema looks at every field it
// knows, so what it did not look at is unknown.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const schemas = `${process.env.NODE_TOOLS}/node_modules/@kubernetes-models/prometheus-operator/_schemas`;
const prefix = "ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1";

function watched(value, seen) {
  if (value === null || typeof value !== "object") return value;
  const children = new Map();
  return new Proxy(value, {
    get(target, key) {
      if (typeof key !== "string" || !Object.hasOwn(target, key)) return target[key];
      if (!children.has(key)) {
        const below = new Map();
        seen.set(key, below);
        children.set(key, watched(target[key], below));
      }
      return children.get(key);
    },
  });
}

function* unseen(value, seen, path) {
  if (value === null || typeof value !== "object") return;
  for (const [key, child] of Object.entries(value)) {
    if (seen.has(key)) yield* unseen(child, seen.get(key), `${path}/${key}`);
    else yield `${path}/${key}: unknown field`;
  }
}

const problems = [];
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const name = `${object.kind} ${object.metadata?.name}`;
  const { validate } = await import(pathToFileURL(`${schemas}/${prefix}${object.kind}.js`));
  const seen = new Map();
  if (!validate(watched(object, seen))) {
    for (const error of validate.errors) problems.push(`${name}: ${error.instancePath}: ${JSON.stringify(error.params)}`);
  }
  for (const problem of unseen(object, seen, "")) problems.push(`${name}: ${problem}`);
}
// One value may be seen to be wrong in two ways.
for (const problem of new Set(problems)) console.log(problem);
