import { v5 as uuidv5, v7 as uuidv7 } from 'uuid';

const NAMESPACE = 'b3a0c9de-6d5f-5c55-9a37-5f1d7c7f4b21';

/** The tenant of a stack that runs without API keys. */
export const DEFAULT_TENANT = 'default';

/** Asset id of a picture: writing the same object twice is writing one point. */
export function pictureAssetId(tenant: string, bucket: string, key: string): string {
  return uuidv5(JSON.stringify(['picture', tenant, bucket, key]), NAMESPACE);
}

/** Asset id of passage `passageNo` (from 0) of an item's text. */
export function passageAssetId(tenant: string, itemId: string, passageNo: number): string {
  return uuidv5(JSON.stringify(['passage', tenant, itemId, passageNo]), NAMESPACE);
}

/** Ids that sort by time: ingestions, questions, traces. */
export function newId(): string {
  return uuidv7();
}

/** Id of a message's delivery to a webhook, or with null to its question's own address. */
export function deliveryId(messageId: string, webhookId: string | null): string {
  return `${messageId}:${webhookId ?? 'one'}`;
}

/** The object store's own bucket: queries, thumbnails, reports. Never listed as a source. */
export const SYSTEM_BUCKET = 'sightline';

/** Where a query's picture waits for the encode worker; expires. */
export function queryPictureKey(tenant: string, id: string): string {
  return `queries/${tenant}/${id}`;
}

/** Before the keys of all pictures that were asked with. */
export const QUESTION_PICTURES = 'questions/';

/** A question's picture, for as long as the question is kept. */
export function questionPictureKey(tenant: string, questionId: string): string {
  return `${QUESTION_PICTURES}${tenant}/${questionId}`;
}

/** The question whose picture has that key; null where it is no such. */
export function questionOfPicture(key: string): { tenant: string; questionId: string } | null {
  const at = key.lastIndexOf('/');
  if (!key.startsWith(QUESTION_PICTURES) || at < QUESTION_PICTURES.length) return null;
  return { tenant: key.slice(QUESTION_PICTURES.length, at), questionId: key.slice(at + 1) };
}

/** A stored thumbnail, by the asset and the eTag of the bytes it was made from. */
export function thumbnailKey(tenant: string, assetId: string, eTag: string, widthPx: number): string {
  return `${thumbnailPrefix(tenant, assetId)}${uuidv5(eTag, NAMESPACE)}-${widthPx}.webp`;
}

/** All stored thumbnails of an asset. */
export function thumbnailPrefix(tenant: string, assetId: string): string {
  return `thumbnails/${tenant}/${assetId}/`;
}

/** What came of an ingestion, in JSON Lines: a summary, then a line for each failure. */
export function reportKey(tenant: string, ingestionId: string): string {
  return `reports/${tenant}/${ingestionId}.jsonl`;
}

/** What an audit found, in JSON Lines: a line for each finding. */
export function auditFindingsKey(tenant: string, auditId: string): string {
  return `reports/${tenant}/audits/${auditId}.jsonl`;
}

/** Id of the audit of a tenant that a schedule's turn brings: the same turn twice is one audit. */
export function scheduledAuditId(tenant: string, turn: string): string {
  return uuidv5(JSON.stringify(['audit', tenant, turn]), NAMESPACE);
}

/** Lock name that keeps an audit to one worker at a time. */
export function auditLockKey(auditId: string): string {
  return `audit:${auditId}`;
}

/** Lock name that keeps an ingestion to one planner at a time. */
export function planLockKey(ingestionId: string): string {
  return `plan:${ingestionId}`;
}

/** Lock name that keeps a migration to one driver at a time. */
export function migrationLockKey(migrationId: string): string {
  return `migration:${migrationId}`;
}

/** Everything of a tenant in the system bucket. */
export function tenantPrefixes(tenant: string): string[] {
  return ['queries', 'questions', 'thumbnails', 'reports'].map((kind) => `${kind}/${tenant}/`);
}

/** Lock name that orders the changes of one webhook. */
export function webhookLockKey(webhookId: string): string {
  return `webhook:${webhookId}`;
}

/** Lock name that orders the deletions of one tenant. */
export function tenantLockKey(tenant: string): string {
  return `tenant:${tenant}`;
}

/** Lock name that orders the writers of one asset. */
export function assetLockKey(tenant: string, assetId: string): string {
  return `asset:${tenant}:${assetId}`;
}

/** Lock name that orders the writers of one item's passages. */
export function itemLockKey(tenant: string, itemId: string): string {
  return `item:${tenant}:${itemId}`;
}
