/** For tools that read TypeScript alone, such as ESLint; vue-tsc reads the components themselves. */
declare module '*.vue' {
  import type { DefineComponent } from 'vue'

  const component: DefineComponent<object, object, object>
  export default component
}
