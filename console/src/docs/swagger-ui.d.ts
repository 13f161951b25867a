// What is used of Swagger UI, which brings no types of its own.
declare module "swagger-ui-dist/swagger-ui-es-bundle.js" {
  interface Sent {
    url: string;
    headers: Record<string, string>;
    signal?: AbortSignal;
  }
  export interface System {
    React: { createElement: (kind: unknown, props: unknown, ...children: unknown[]) => unknown };
  }
  interface Options {
    dom_id: string;
    url: string;
    deepLinking: boolean;
    docExpansion: "none";
    filter: boolean;
    tagsSorter: "alpha";
    plugins: {
      components: Record<string, unknown>;
      wrapComponents: Record<string, (original: unknown, system: System) => unknown>;
    }[];
    tryItOutEnabled: boolean;
    displayRequestDuration: boolean;
    defaultModelsExpandDepth: number;
    validatorUrl: null;
    requestInterceptor: (sent: Sent) => Sent;
  }
  const SwaggerUI: (options: Options) => void;
  export default SwaggerUI;
}
