/** The ledger's cursor of an ingestion whose failures are tried again: query-api writes it, the planner goes on from it. */
export const RETRY_CURSOR = JSON.stringify({ retry: {} });

/** Whether a cursor says that failures are being tried again. */
export function isRetryCursor(cursor: string | null): boolean {
  return cursor?.startsWith('{"retry"') ?? false;
}
