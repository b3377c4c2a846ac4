/** Plots as inline SVG that takes its colours from the page. */
import { escaped } from './report-html.ts';
import type { Metric } from './run.ts';

const LABEL_PX = 250;
const PLOT_PX = 420;
const ROW_PX = 24;

interface Row {
  label: string;
  metric: Metric | null;
  isMain: boolean;
}

/** Shares with their 95 % intervals, a line each, from 0 to 100 %. */
export function intervalChart(title: string, rows: readonly Row[]): string {
  const height = rows.length * ROW_PX + 30;
  const x = (share: number) => LABEL_PX + share * PLOT_PX;
  const grid = [0, 0.25, 0.5, 0.75, 1]
    .map(
      (at) =>
        `<line x1="${x(at)}" x2="${x(at)}" y1="0" y2="${height - 22}" stroke="var(--line)"/><text class="soft" x="${x(at)}" y="${height - 6}" text-anchor="middle">${at * 100} %</text>`,
    )
    .join('');
  const lines = rows
    .map(({ label, metric, isMain }, i) => {
      const y = i * ROW_PX + ROW_PX / 2;
      const name = `<text x="0" y="${y + 4}"${isMain ? ' font-weight="600"' : ''}>${escaped(label)}</text>`;
      if (!metric) return `${name}<text class="soft" x="${x(0) + 6}" y="${y + 4}">not measured</text>`;
      const colour = isMain ? 'var(--main)' : 'var(--other)';
      return `${name}<line x1="${x(metric.low)}" x2="${x(metric.high)}" y1="${y}" y2="${y}" stroke="${colour}" stroke-width="3" stroke-linecap="round"/><circle cx="${x(metric.value)}" cy="${y}" r="5.5" fill="${colour}"/><text x="${x(1) + 12}" y="${y + 4}">${(metric.value * 100).toFixed(0)} %</text>`;
    })
    .join('');
  return figure(title, LABEL_PX + PLOT_PX + 60, height, grid + lines);
}

interface Point {
  at: string;
  metric: Metric;
}

/** A measure along a setting, the points evenly apart, with a band of intervals; `mark` is the default. From 0 to 100 %. */
export function sweepChart(title: string, xName: string, points: readonly Point[], mark: string): string {
  const [left, top, width, height] = [44, 10, 380, 200];
  const x = (i: number) => left + (points.length < 2 ? width / 2 : (i / (points.length - 1)) * width);
  const lows = points.map(({ metric }) => metric.low);
  const highs = points.map(({ metric }) => metric.high);
  const [least, most] = [Math.max(0, Math.min(...lows) - 0.05), Math.min(1, Math.max(...highs) + 0.05)];
  const y = (share: number) => top + height - ((share - least) / Math.max(0.01, most - least)) * height;
  const band = [
    ...points.map(({ metric }, i) => `${x(i)},${y(metric.high)}`),
    ...points.map(({ metric }, i) => `${x(i)},${y(metric.low)}`).reverse(),
  ];
  const ticks = [0, 0.5, 1]
    .map((part) => least + part * (most - least))
    .map(
      (share) =>
        `<line x1="${left}" x2="${left + width}" y1="${y(share)}" y2="${y(share)}" stroke="var(--line)"/><text class="soft" x="${left - 6}" y="${y(share) + 4}" text-anchor="end">${(share * 100).toFixed(0)}</text>`,
    )
    .join('');
  const labels = points
    .map(
      ({ at }, i) =>
        `<text ${at === mark ? 'font-weight="600"' : 'class="soft"'} x="${x(i)}" y="${top + height + 18}" text-anchor="middle">${escaped(at)}</text>`,
    )
    .join('');
  const dots = points
    .map(({ at, metric }, i) => `<circle cx="${x(i)}" cy="${y(metric.value)}" r="${at === mark ? 6 : 3.5}" fill="var(--main)"/>`)
    .join('');
  const line = points.map(({ metric }, i) => `${x(i)},${y(metric.value)}`).join(' ');
  return figure(
    title,
    left + width + 20,
    top + height + 46,
    `${ticks}<polygon points="${band.join(' ')}" fill="var(--main)" opacity="0.15"/><polyline points="${line}" fill="none" stroke="var(--main)" stroke-width="2"/>${dots}${labels}<text class="soft" x="${left + width / 2}" y="${top + height + 38}" text-anchor="middle">${escaped(xName)}</text>`,
  );
}

interface Time {
  label: string;
  p50Ms: number;
  p95Ms: number;
}

/** Milliseconds: half of the questions, and 95 of 100, took no longer. */
export function latencyChart(title: string, times: readonly Time[]): string {
  const most = Math.max(1, ...times.map(({ p95Ms }) => p95Ms));
  const height = times.length * ROW_PX + 6;
  const bars = times
    .map(({ label, p50Ms, p95Ms }, i) => {
      const y = i * ROW_PX;
      const px = (ms: number) => Math.max(1, (ms / most) * PLOT_PX);
      return `<text x="0" y="${y + 16}">${escaped(label)}</text><rect x="${LABEL_PX}" y="${y + 5}" width="${px(p95Ms)}" height="14" rx="3" fill="var(--other)" opacity="0.35"/><rect x="${LABEL_PX}" y="${y + 5}" width="${px(p50Ms)}" height="14" rx="3" fill="var(--main)"/><text class="soft" x="${LABEL_PX + px(p95Ms) + 8}" y="${y + 16}">${told(p50Ms)} / ${told(p95Ms)} ms</text>`;
    })
    .join('');
  return figure(title, LABEL_PX + PLOT_PX + 130, height, bars);
}

function told(ms: number): string {
  return ms < 10 ? ms.toFixed(1) : ms.toFixed(0);
}

function figure(title: string, width: number, height: number, inner: string): string {
  return `<figure><figcaption>${escaped(title)}</figcaption><svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(title)}">${inner}</svg></figure>`;
}
