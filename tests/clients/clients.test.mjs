// The clients of npm against a running engine: SEGUE_BASE names its FHIR base.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import test from "node:test";

const require = createRequire(import.meta.url);
const Kit = require("fhir-kit-client");
const SmartClient = require("fhirclient/lib/Client").default;
const base = process.env.SEGUE_BASE;

const patient = (family) => ({
  resourceType: "Patient",
  name: [{ family, given: ["Ann"] }],
  birthDate: "1950-01-01",
});

const transaction = (family, count) => {
  const link = "urn:uuid:0f6b6a50-2a8e-4a53-9f0e-7a3c1d2e4f5a";
  const weights = Array.from({ length: count }, (_, number) => ({
    resource: {
      resourceType: "Observation",
      status: "final",
      code: { text: "weight" },
      subject: { reference: link },
      valueQuantity: { value: 60 + number, unit: "kg" },
    },
    request: { method: "POST", url: "Observation" },
  }));
  const mother = {
    fullUrl: link,
    resource: patient(family),
    request: { method: "POST", url: "Patient" },
  };
  return { resourceType: "Bundle", type: "transaction", entry: [mother, ...weights] };
};

const ids = (bundle) => (bundle.entry ?? []).map((one) => one.resource.id);

test("fhir-kit-client creates, reads, changes, patches and deletes", async () => {
  const client = new Kit({ baseUrl: base });
  const statement = await client.capabilityStatement();
  assert.equal(statement.fhirVersion, "4.0.1");
  const made = await client.create({ resourceType: "Patient", body: patient("Kit") });
  assert.equal(made.meta.versionId, "1");
  const read = await client.read({ resourceType: "Patient", id: made.id });
  assert.equal(read.name[0].family, "Kit");
  const changed = await client.update({
    resourceType: "Patient",
    id: made.id,
    body: { ...read, gender: "female" },
  });
  assert.equal(changed.meta.versionId, "2");
  const patched = await client.patch({
    resourceType: "Patient",
    id: made.id,
    JSONPatch: [{ op: "replace", path: "/gender", value: "other" }],
  });
  assert.equal(patched.gender, "other");
  const first = await client.vread({ resourceType: "Patient", id: made.id, version: "1" });
  assert.equal(first.gender, undefined);
  const history = await client.history({ resourceType: "Patient", id: made.id });
  assert.equal(history.total, 3);
  await client.delete({ resourceType: "Patient", id: made.id });
  await assert.rejects(client.read({ resourceType: "Patient", id: made.id }), (error) => {
    assert.equal(error.response.status, 410);
    assert.equal(error.response.data.resourceType, "OperationOutcome");
    return true;
  });
});

test("fhir-kit-client posts transactions, searches, turns pages and asks operations", async () => {
  const client = new Kit({ baseUrl: base });
  const answer = await client.transaction({ body: transaction("KitPages", 12) });
  assert.equal(answer.type, "transaction-response");
  const id = answer.entry[0].response.location.split("/Patient/")[1].split("/")[0];
  let page = await client.search({
    resourceType: "Observation",
    searchParams: { patient: id, _count: 5 },
  });
  const seen = [];
  while (page) {
    seen.push(...ids(page));
    page = await client.nextPage({ bundle: page });
  }
  assert.equal(new Set(seen).size, 12);
  const posted = await client.search({
    resourceType: "Patient",
    searchParams: { family: "KitPages" },
    options: { postSearch: true },
  });
  assert.equal(posted.total, 1);
  const inside = await client.compartmentSearch({
    resourceType: "Observation",
    compartment: { resourceType: "Patient", id },
  });
  assert.equal(inside.total, 12);
  const whole = await client.operation({
    name: "$everything",
    resourceType: "Patient",
    id,
    method: "get",
  });
  assert.equal(whole.entry.length, 13);
});

test("fhirclient creates, reads, changes, patches, deletes and turns pages", async () => {
  const client = new SmartClient({}, { serverUrl: base });
  const made = await client.create(patient("SmartNode"));
  assert.ok(made.id);
  const changed = await client.update({ ...made, gender: "female" });
  assert.equal(changed.gender, "female");
  const patched = await client.patch(`Patient/${made.id}`, [
    { op: "replace", path: "/gender", value: "other" },
  ]);
  assert.equal(patched.gender, "other");
  assert.equal((await client.request(`Patient/${made.id}`)).gender, "other");
  await client.delete(`Patient/${made.id}`);
  await assert.rejects(client.request(`Patient/${made.id}`));
  const sent = transaction("SmartNodePages", 12);
  await client.request({
    url: "",
    method: "POST",
    body: JSON.stringify(sent),
    headers: { "content-type": "application/fhir+json" },
  });
  const [{ id }] = await client.request("Patient?family=SmartNodePages", { flat: true });
  const weights = await client.request(`Observation?patient=${id}&_count=5`, {
    pageLimit: 0,
    flat: true,
  });
  assert.equal(new Set(weights.map((one) => one.id)).size, 12);
});
