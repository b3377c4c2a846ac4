import type { DatabaseSync } from 'node:sqlite';
import { pictureAssetId } from '../contracts/ids.ts';
import type { PointRecord } from '../contracts/records.ts';
import type { Deletion, IndexSpec, PictureWrite, PointCopy, PointHalf, RecordWrite, Space } from '../ports/vector-index.ts';
import { inTransaction } from './sqlite-database.ts';
import { storedValue } from './sqlite-filter.ts';
import { ftsDocument } from './sqlite-keywords.ts';
import { idRange } from './sqlite-vector-index-format.ts';
import { openIndexStore, type IndexStoreOptions } from './sqlite-vector-index-store.ts';
import { unitVector, vectorBytes } from './unit-vector.ts';

/** The store module of the writing thread. */
export const open = (options: IndexStoreOptions) => openIndexStore(options, 'writer', indexWrites);
export type IndexWriter = ReturnType<typeof open>['methods'];

/** The writing half of the index over one connection. Each call is one transaction: all of it, or nothing. */
function indexWrites(db: DatabaseSync, spec: IndexSpec) {
  const statements = {
    addTenant: db.prepare('INSERT INTO tenants (tenant) VALUES (?) RETURNING tenant_no'),
    tenantNo: db.prepare('SELECT tenant_no FROM tenants WHERE tenant = ?'),
    pointId: db.prepare('SELECT id FROM points WHERE tenant_no = ? AND asset_id = ?'),
    addPoint: db.prepare(`
      INSERT INTO points (id, tenant_no, asset_id, kind)
      VALUES ((SELECT coalesce(max(id), :low) + 1 FROM points WHERE id > :low AND id <= :high), :tenantNo, :assetId, :kind)
      RETURNING id`),
    picture: db.prepare(`
      UPDATE points SET kind = 'picture', bucket = :bucket, key = :key, etag = :eTag, sha256 = :sha256, size_bytes = :sizeBytes,
        width_px = :widthPx, height_px = :heightPx, image_live = 1, image_version = :version, image_at = :at
      WHERE id = :id AND coalesce(image_version, -1) < :version`),
    record: db.prepare(`
      UPDATE points SET kind = :kind, bucket = coalesce(:bucket, bucket), key = coalesce(:key, key), passage_no = :passageNo,
        records = :records, pushed = :pushed, has_text = :hasText, record_live = 1, record_version = :version, record_at = :at
      WHERE id = :id AND coalesce(record_version, -1) < :version`),
    deletePicture: db.prepare(`
      UPDATE points SET bucket = coalesce(:bucket, bucket), key = coalesce(:key, key), etag = :eTag, sha256 = :sha256,
        size_bytes = NULL, width_px = NULL, height_px = NULL, image_live = 0, image_version = :version, image_at = :at,
        deleted_because = :reason, deleted_at = :at
      WHERE id = :id AND coalesce(image_version, -1) < :version`),
    deleteRecord: db.prepare(`
      UPDATE points SET records = '[]', pushed = 0, has_text = 0, record_live = 0, record_version = :version, record_at = :at,
        deleted_because = :reason, deleted_at = :at
      WHERE id = :id AND coalesce(record_version, -1) < :version`),
    copyImage: db.prepare(`
      UPDATE points SET bucket = coalesce(:bucket, bucket), key = coalesce(:key, key), etag = :eTag, sha256 = :sha256,
        size_bytes = :sizeBytes, width_px = :widthPx, height_px = :heightPx, image_live = :live, image_version = :version, image_at = :at
      WHERE id = :id AND coalesce(image_version, -1) < :version`),
    copyRecord: db.prepare(`
      UPDATE points SET bucket = coalesce(:bucket, bucket), key = coalesce(:key, key), passage_no = :passageNo, records = :records,
        pushed = :pushed, has_text = :hasText, record_live = :live, record_version = :version, record_at = :at
      WHERE id = :id AND coalesce(record_version, -1) < :version`),
    copyPoint: db.prepare(`
      UPDATE points SET kind = :kind, deleted_because = coalesce(:because, deleted_because), deleted_at = coalesce(:deletedAt, deleted_at)
      WHERE id = :id`),
    putVector: {
      image: db.prepare('INSERT OR REPLACE INTO image_vectors (id, asset_id, vector) VALUES (?, ?, ?)'),
      text: db.prepare('INSERT OR REPLACE INTO text_vectors (id, asset_id, vector) VALUES (?, ?, ?)'),
    },
    dropVector: {
      image: db.prepare('DELETE FROM image_vectors WHERE id = ?'),
      text: db.prepare('DELETE FROM text_vectors WHERE id = ?'),
    },
    addAttribute: db.prepare('INSERT OR IGNORE INTO attributes (name, value, id, record_no) VALUES (?, ?, ?, ?)'),
    dropAttributes: db.prepare('DELETE FROM attributes WHERE id = ?'),
    addNamed: db.prepare('INSERT OR IGNORE INTO named_pictures (picture_id, id) VALUES (?, ?)'),
    dropNamed: db.prepare('DELETE FROM named_pictures WHERE id = ?'),
    addKeywords: db.prepare('INSERT INTO keywords (rowid, words) VALUES (?, ?)'),
    dropKeywords: db.prepare('DELETE FROM keywords WHERE rowid = ?'),
    expired: db.prepare(`
      SELECT id FROM points WHERE tenant_no = (SELECT tenant_no FROM tenants WHERE tenant = ?) AND image_live IS NOT 1 AND record_live IS NOT 1 AND deleted_at < ? AND deleted_because <> 'removed'`),
    dropPoint: db.prepare('DELETE FROM points WHERE id = ?'),
    ofTenant: [
      'DELETE FROM image_vectors WHERE id > :low AND id <= :high',
      'DELETE FROM text_vectors WHERE id > :low AND id <= :high',
      // Its primary key begins with the attribute's name, so the points lead the way.
      'DELETE FROM attributes WHERE id IN (SELECT id FROM points WHERE id > :low AND id <= :high)',
      'DELETE FROM named_pictures WHERE id IN (SELECT id FROM points WHERE id > :low AND id <= :high)',
      'DELETE FROM keywords WHERE rowid IN (SELECT id FROM points WHERE id > :low AND id <= :high)',
    ].map((sql) => db.prepare(sql)),
    dropPoints: db.prepare('DELETE FROM points WHERE id > :low AND id <= :high'),
    dropTenant: db.prepare('DELETE FROM tenants WHERE tenant_no = ?'),
  };

  const tenantNo = (tenant: string): number =>
    Number((statements.tenantNo.get(tenant) ?? statements.addTenant.get(tenant))?.['tenant_no']);

  const pointId = (tenant: string, assetId: string, kind: 'picture' | 'passage'): number => {
    const no = tenantNo(tenant);
    const row = statements.pointId.get(no, assetId) ?? statements.addPoint.get({ ...idRange(no), tenantNo: no, assetId, kind });
    return Number(row?.['id']);
  };

  const setVector = (space: Space, id: number, assetId: string, vector: Float32Array | null): void => {
    if (vector) statements.putVector[space].run(id, assetId, vectorBytes(vector));
    else statements.dropVector[space].run(id);
  };

  const setAttributes = (id: number, records: PointRecord[]): void => {
    statements.dropAttributes.run(id);
    records.forEach(({ itemId, attributes }, recordNo) => {
      // The record's own id wins over an attribute of that name.
      for (const [name, value] of Object.entries({ ...attributes, item_id: itemId })) {
        for (const one of Array.isArray(value) ? value : [value])
          statements.addAttribute.run(name, storedValue(one), id, recordNo);
      }
    });
  };

  const setNamed = (id: number, tenant: string, records: PointRecord[]): void => {
    statements.dropNamed.run(id);
    for (const { pictures } of records)
      for (const { bucket, key } of pictures) statements.addNamed.run(pictureAssetId(tenant, bucket, key), id);
  };

  const setKeywords = (id: number, keywords: string[]): void => {
    // FTS5 takes row ids as integers only; a JavaScript number is bound as a real.
    statements.dropKeywords.run(BigInt(id));
    if (keywords.length > 0) statements.addKeywords.run(BigInt(id), ftsDocument(keywords));
  };

  const putCopy = (copy: PointCopy & { keywords: string[] }, image: Float32Array | null, text: Float32Array | null): void => {
    const { assetId, kind, records, passageNo, sha256, sizeBytes, widthPx, heightPx } = copy;
    const id = pointId(copy.tenant, assetId, kind);
    const place = { bucket: copy.object?.bucket ?? null, key: copy.object?.key ?? null };
    const half = ({ version, at, live }: PointHalf) => ({ id, ...place, version, at, live: live ? 1 : 0 });
    const ofImage = { eTag: copy.object?.eTag ?? null, sha256, sizeBytes, widthPx, heightPx };
    const takesImage = copy.image !== null && statements.copyImage.run({ ...half(copy.image), ...ofImage }).changes > 0;
    const pushed = records.some((record) => record.pushed) ? 1 : 0;
    const ofRecord = { passageNo, records: JSON.stringify(records), pushed, hasText: text ? 1 : 0 };
    const takesRecord = copy.record !== null && statements.copyRecord.run({ ...half(copy.record), ...ofRecord }).changes > 0;
    if (takesImage || takesRecord)
      statements.copyPoint.run({ id, kind, because: copy.deletedBecause, deletedAt: copy.deletedAt });
    if (takesImage) setVector('image', id, assetId, image);
    if (!takesRecord) return;
    setVector('text', id, assetId, text);
    setAttributes(id, records);
    setNamed(id, copy.tenant, records);
    setKeywords(id, copy.record?.live ? copy.keywords : []);
  };

  return {
    putCopies(copies: (PointCopy & { keywords: string[] })[]): void {
      const vectors = copies.map(({ vectors: { image, text } }) => ({
        image: image ? unitVector(spec, 'image', image) : null,
        text: text ? unitVector(spec, 'text', text) : null,
      }));
      inTransaction(db, () => copies.forEach((copy, i) => putCopy(copy, vectors[i]?.image ?? null, vectors[i]?.text ?? null)));
    },

    writePictures(writes: PictureWrite[]): void {
      const vectors = writes.map((write) => unitVector(spec, 'image', write.vector));
      inTransaction(db, () => {
        writes.forEach(({ tenant, assetId, object, imageVersion, indexedAt, sha256, sizeBytes, widthPx, heightPx }, i) => {
          const id = pointId(tenant, assetId, 'picture');
          const payload = { ...object, sha256, sizeBytes, widthPx, heightPx };
          const { changes } = statements.picture.run({ id, ...payload, version: imageVersion, at: indexedAt });
          if (changes > 0) setVector('image', id, assetId, vectors[i] ?? null);
        });
      });
    },

    writeRecords(writes: RecordWrite[]): void {
      const vectors = writes.map(({ vector }) => vector && unitVector(spec, 'text', vector));
      inTransaction(db, () => {
        writes.forEach(({ tenant, assetId, kind, object, passageNo, records, keywords, recordVersion, indexedAt }, i) => {
          const id = pointId(tenant, assetId, kind);
          const vector = vectors[i] ?? null;
          const ordered = records.toSorted((a, b) => (a.itemId < b.itemId ? -1 : 1));
          const { changes } = statements.record.run({
            id,
            kind,
            bucket: object?.bucket ?? null,
            key: object?.key ?? null,
            passageNo,
            records: JSON.stringify(ordered),
            pushed: ordered.some(({ pushed }) => pushed) ? 1 : 0,
            hasText: vector ? 1 : 0,
            version: recordVersion,
            at: indexedAt,
          });
          if (changes === 0) return;
          setVector('text', id, assetId, vector);
          setAttributes(id, ordered);
          setNamed(id, tenant, ordered);
          setKeywords(id, keywords);
        });
      });
    },

    delete(deletions: Deletion[]): void {
      inTransaction(db, () => {
        for (const { tenant, assetId, object, sha256 = null, version, reason, at } of deletions) {
          const id = pointId(tenant, assetId, object ? 'picture' : 'passage');
          const half = { id, version, reason, at };
          const place = { bucket: object?.bucket ?? null, key: object?.key ?? null, eTag: object?.eTag ?? null };
          if (statements.deletePicture.run({ ...half, ...place, sha256 }).changes > 0) setVector('image', id, assetId, null);
          if (statements.deleteRecord.run(half).changes === 0) continue;
          setVector('text', id, assetId, null);
          setAttributes(id, []);
          setNamed(id, tenant, []);
          setKeywords(id, []);
        }
      });
    },

    purge(tenant: string, before: number): number {
      return inTransaction(db, () => {
        const expired = statements.expired.all(tenant, before);
        for (const { id } of expired) statements.dropPoint.run(id ?? null);
        return expired.length;
      });
    },

    deleteTenant(tenant: string): number {
      return inTransaction(db, () => {
        const row = statements.tenantNo.get(tenant);
        if (!row) return 0;
        const no = Number(row['tenant_no']);
        const range = { ...idRange(no) };
        for (const statement of statements.ofTenant) statement.run(range);
        const { changes } = statements.dropPoints.run(range);
        statements.dropTenant.run(no);
        return Number(changes);
      });
    },
  };
}
