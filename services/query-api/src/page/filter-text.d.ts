import type { Filter } from '@sightline/shared/contracts/filter';
export declare function parseFilter(text: string): Filter;
