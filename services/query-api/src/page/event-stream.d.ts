export interface StreamedEvent {
  id: string;
  event: string;
  data: string;
}
export declare function eventsOf(response: Response): AsyncGenerator<StreamedEvent, void, void>;
export declare function resumedEvents(stream: {
  open: (lastEventId: string) => Promise<Response | null>;
  last: string;
  wait: (ms: number) => Promise<void>;
  onLost: () => void;
}): AsyncGenerator<StreamedEvent, void, void>;
