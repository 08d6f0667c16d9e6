// What the hooks of a service know: one resource for all components that ask for the same, of one user at a time.
import { AntiphonError, type DatabaseService } from './index.js';

/** What a hook knows. After an error `data` is the last data. */
export interface Live<Data> {
  data: Data | undefined;
  error: AntiphonError | undefined;
  /** Whether nothing has been received yet. */
  isLoading: boolean;
}

/** One run of a source: what it delivers to, until the signal. */
export interface Run<Data> {
  store: Store;
  signal: AbortSignal;
  deliver: (data: Data) => void;
  fail: (error: unknown) => void;
}

/** Loads and listens. A source that fails with an error that may pass is run again. */
export type Source<Data> = (run: Run<Data>) => void | Promise<void>;

interface Resource {
  source: Source<any>;
  state: Live<any>;
  listeners: Set<() => void>;
  /** Ends its run; absent before the first. */
  stop?: AbortController;
}

export const LOADING: Live<any> = { data: undefined, error: undefined, isLoading: true };
export const IDLE: Live<any> = { data: undefined, error: undefined, isLoading: false };

/** How long a resource without listeners is kept, in milliseconds: strict mode and navigation leave and come back at once. */
const LINGER = 1_000;

/** The first and the longest wait after a failure, in milliseconds. */
const RETRY = 2_000;
const LONGEST_RETRY = 30_000;

const PASSING = ['NETWORK', 'RATE_LIMITED', 'UNAVAILABLE', 'INTERNAL', 'UNAUTHENTICATED', 'POSITION_LOST'];

const asError = (cause: unknown) =>
  cause instanceof AntiphonError ? cause : new AntiphonError(String(cause), { code: 'INTERNAL' }, { cause });

const stores = new WeakMap<DatabaseService, Store>();

export class Store {
  readonly #resources = new Map<string, Resource>();
  /** Whose data the resources have. */
  #user: string | undefined;
  /** What hooks show instead of a resource's state while it is not known who asks. */
  #veil: Live<any> | undefined = LOADING;
  #watchers = 0;
  #checks = 0;
  #ignoreCallers: () => void = () => {};
  readonly #sleepers = new Set<() => void>();
  #asked: Promise<string | null | undefined> | undefined;

  static of(service: DatabaseService): Store {
    const store = stores.get(service) ?? new Store(service);
    stores.set(service, store);
    return store;
  }

  private constructor(readonly service: DatabaseService) {}

  /** What a component shows. */
  state(key: string): Live<any> {
    return this.#veil ?? this.loaded(key) ?? LOADING;
  }

  /** What the resource has, also while it is not known who asks. */
  loaded(key: string): Live<any> | undefined {
    return this.#resources.get(key)?.state;
  }

  /** Holds a resource for a component. Returns what ends it. */
  watch(key: string, source: Source<any>, listener: () => void): () => void {
    const end = this.hold(key, source, listener);
    this.#watchers += 1;
    if (this.#watchers === 1) void this.#check();
    // If it is another user by now, the service calls back.
    else void this.service.getCaller().catch(() => {});
    return () => {
      end();
      this.#watchers -= 1;
      if (this.#watchers === 0) this.#hide(LOADING);
    };
  }

  /** Holds a resource for as long as it has listeners. */
  hold(key: string, source: Source<any>, listener: () => void): () => void {
    if (this.#resources.size === 0) this.#ignoreCallers = this.service.onCaller((user) => this.#meet(user));
    const resource: Resource = this.#resources.get(key) ?? { source, state: LOADING, listeners: new Set() };
    this.#resources.set(key, resource);
    resource.listeners.add(listener);
    // Before it is known who asks nothing is started.
    if (!resource.stop && !this.#veil) this.#start(resource);
    return () => {
      resource.listeners.delete(listener);
      setTimeout(() => {
        if (resource.listeners.size > 0 || this.#resources.get(key) !== resource) return;
        this.#drop(key, resource);
      }, LINGER);
    };
  }

  #drop(key: string, resource: Resource): void {
    this.#resources.delete(key);
    resource.stop?.abort();
    if (this.#resources.size === 0) this.#ignoreCallers();
  }

  /** Loads, and again after each failure that may pass: after a refused token once there is another. */
  async persist<Data>(load: () => Promise<Data>, { fail, signal }: Run<any>): Promise<Data> {
    for (let refusals = 0; ; ) {
      signal.throwIfAborted();
      let token: string | null | undefined;
      try {
        ({ token } = await this.service.getCaller());
        return await load();
      } catch (error) {
        if (signal.aborted || !(error instanceof AntiphonError && PASSING.includes(error.code))) throw error;
        fail(error);
        if (error.code !== 'UNAUTHENTICATED') await this.#sleep(RETRY, signal);
        else {
          // A token that is fresh already is tried at once, but not again and again.
          if (refusals > 0) await this.#sleep(Math.min(2 ** refusals * RETRY, LONGEST_RETRY), signal);
          refusals += 1;
          while (!signal.aborted && (await this.#token()) === token) await this.#sleep(RETRY, signal);
        }
      }
    }
  }

  /** The present token, asked for once for all resources that wait for another one. */
  #token(): Promise<string | null | undefined> {
    if (!this.#asked) {
      this.#asked = this.service.getCaller().then(({ token }) => token, () => undefined);
      setTimeout(() => (this.#asked = undefined), RETRY / 2);
    }
    return this.#asked;
  }

  /** Waits, until `connect` at the longest. */
  #sleep(time: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', wake);
        this.#sleepers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, time);
      signal.addEventListener('abort', wake);
      this.#sleepers.add(wake);
      if (signal.aborted) wake();
    });
  }

  #start(resource: Resource): void {
    resource.stop?.abort();
    const { signal } = (resource.stop = new AbortController());
    const set = (state: Live<any>) => {
      if (signal.aborted) return;
      resource.state = state;
      this.#emit(resource);
    };
    const run: Run<any> = {
      store: this,
      signal,
      deliver: (data) => set({ data, error: undefined, isLoading: false }),
      fail: (cause) => set({ ...resource.state, error: asError(cause), isLoading: false }),
    };
    resource.state = LOADING;
    this.persist(async () => resource.source(run), run).catch(run.fail);
  }

  /** Another user may be asking: nothing is shown before that is known. */
  #meet(user: string | undefined): void {
    if (this.#watchers === 0) {
      if (user !== this.#user) for (const [key, resource] of [...this.#resources]) this.#drop(key, resource);
    } else if (user === undefined) {
      this.#hide(LOADING);
      void this.#check();
    } else {
      this.#checks += 1;
      this.#show(user);
    }
    this.#asked = undefined;
    for (const wake of [...this.#sleepers]) wake();
  }

  async #check(): Promise<void> {
    const check = (this.#checks += 1);
    try {
      const { user } = await this.service.getCaller();
      if (check === this.#checks && this.#watchers > 0) this.#show(user);
    } catch (cause) {
      if (check !== this.#checks || this.#watchers === 0) return;
      this.#hide({ ...LOADING, error: asError(cause), isLoading: false });
      setTimeout(() => check === this.#checks && this.#watchers > 0 && void this.#check(), RETRY);
    }
  }

  #hide(veil: Live<any>): void {
    this.#veil = veil;
    this.#emit(...this.#resources.values());
  }

  /** Shows the data of a user; all that is another's is dropped and loaded anew. */
  #show(user: string): void {
    const isSame = user === this.#user;
    const wasHidden = this.#veil !== undefined;
    this.#user = user;
    this.#veil = undefined;
    for (const resource of [...this.#resources.values()]) {
      if (!isSame || !resource.stop) this.#start(resource);
    }
    if (wasHidden || !isSame) this.#emit(...this.#resources.values());
  }

  #emit(...resources: Resource[]): void {
    for (const { listeners } of resources) for (const listener of [...listeners]) listener();
  }
}
