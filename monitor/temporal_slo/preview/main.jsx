// Renders a dashboard with Grafana's own components. Panel types without a component become labeled boxes.
// CommonJS: with ES modules the bundler does not resolve the older packages that some components import.
const {
  applyFieldOverrides,
  createTheme,
  dateTime,
  getDisplayProcessor,
  getFieldDisplayValues,
  renderMarkdown,
  standardTransformers,
  standardTransformersRegistry,
  toDataFrame,
  transformDataFrame,
} = require('@grafana/data');
const {
  BarGauge,
  BigValue,
  GlobalStyles,
  PanelChrome,
  Table,
  ThemeContext,
  TimeSeries,
} = require('@grafana/ui');
const React = require('react');
const { createRoot } = require('react-dom/client');
const { firstValueFrom } = require('rxjs');

const { dashboard, data, colors, range } = window.PREVIEW;
const theme = createTheme({ colors: { mode: colors } });
const COLUMNS = 24;
const CELL = 30;
const GAP = 8;
const WIDTH = window.innerWidth - 2 * GAP;
const timeRange = { from: dateTime(range.from), to: dateTime(range.to), raw: { from: 'now-1h', to: 'now' } };

// Some transformers are exported under two names.
const transformers = new Map(Object.values(standardTransformers).map((one) => [one.id, one]));
standardTransformersRegistry.setInit(() =>
  [...transformers.values()].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    transformation: async () => transformation,
    editor: () => null,
    imageDark: '',
    imageLight: '',
  }))
);

const context = { interpolate: (text) => text };

async function framesOf(panel) {
  let frames = (data[panel.id] || []).map(toDataFrame);
  if (panel.transformations?.length) {
    frames = await firstValueFrom(transformDataFrame(panel.transformations, frames, context));
  }
  return applyFieldOverrides({
    data: frames,
    fieldConfig: panel.fieldConfig ?? { defaults: {}, overrides: [] },
    fieldConfigRegistry: fieldOptions(panel.fieldConfig?.defaults ?? {}),
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
}

// A registry of the field options that this panel uses; Grafana's own registry is in its core, which is not published.
function fieldOptions({ custom = {}, ...common }) {
  const known = [
    ...Object.keys(common).map((path) => fieldOption(path, path, false)),
    ...Object.keys(custom).map((path) => fieldOption(`custom.${path}`, path, true)),
  ];
  const fallback = (id) => fieldOption(id, id.replace(/^custom\./, ''), id.startsWith('custom.'));
  return { getIfExists: (id) => known.find((one) => one.id === id) ?? fallback(id), list: () => known };
}

function fieldOption(id, path, isCustom) {
  return { id, path, isCustom, process: (value) => value, shouldApply: () => true };
}

function displayValues(panel, frames) {
  return getFieldDisplayValues({
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options?.reduceOptions ?? { calcs: ['lastNotNull'], values: false },
    data: frames,
    theme,
    replaceVariables: (text) => text,
    timeZone: 'utc',
  });
}

const COMPONENTS = {
  text: ({ panel }) => (
    <div className="markdown-html" dangerouslySetInnerHTML={{ __html: renderMarkdown(panel.options.content) }} />
  ),
  stat: ({ panel, frames, width, height }) => {
    const shown = displayValues(panel, frames);
    const itemWidth = width / Math.max(shown.length, 1);
    return (
      <div style={{ display: 'flex' }}>
        {shown.map(({ display }, index) => (
          <BigValue
            key={index}
            value={display}
            width={itemWidth}
            height={height}
            theme={theme}
            colorMode={panel.options.colorMode ?? 'value'}
            graphMode="none"
            textMode={panel.options.textMode ?? 'auto'}
            justifyMode={panel.options.justifyMode ?? 'auto'}
            count={shown.length}
          />
        ))}
      </div>
    );
  },
  bargauge: ({ panel, frames, width, height }) => {
    const shown = displayValues(panel, frames);
    const itemHeight = Math.min(height / Math.max(shown.length, 1), 48);
    return shown.map(({ display, field }, index) => (
      <BarGauge
        key={index}
        itemSpacing={GAP}
        value={display}
        field={field}
        width={width}
        height={itemHeight}
        theme={theme}
        display={getDisplayProcessor({ field: { config: field, type: 'number' }, theme })}
        orientation={panel.options.orientation ?? 'horizontal'}
        displayMode={panel.options.displayMode ?? 'gradient'}
      />
    ));
  },
  table: ({ frames, width, height }) => <Table data={frames[0]} width={width} height={height} />,
  timeseries: ({ panel, frames, width, height }) => (
    <TimeSeries
      frames={frames}
      timeRange={timeRange}
      timeZone="utc"
      width={width}
      height={height}
      legend={panel.options.legend}
      options={panel.options}
    >
      {() => null}
    </TimeSeries>
  ),
};

function Placeholder({ panel, text }) {
  return (
    <div style={{ border: `1px dashed ${theme.colors.border.strong}`, padding: 8, height: '100%', opacity: 0.7 }}>
      {panel.type}: {text}
    </div>
  );
}

class ErrorBoundary extends React.Component {
  state = {};
  static getDerivedStateFromError(error) {
    return { error };
  }
  render() {
    const { error } = this.state;
    return error ? <Placeholder panel={this.props.panel} text={`failed: ${error.message}`} /> : this.props.children;
  }
}

// JSON has no infinity: the lowest threshold is null, which Grafana replaces when it loads a panel.
function restoreInfinity(panel) {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  const overridden = overrides.flatMap(({ properties }) => properties.map((property) => property.value));
  for (const value of [defaults.thresholds, ...overridden]) {
    value?.steps?.filter((step) => step.value === null).forEach((step) => (step.value = -Infinity));
  }
}

function PanelContent({ panel, frames, width, height }) {
  const Component = COMPONENTS[panel.type];
  if (!Component) {
    return <Placeholder panel={panel} text="not supported in previews" />;
  }
  if (panel.type !== 'text' && !frames.some((frame) => frame.length > 0)) {
    return <Placeholder panel={panel} text={panel.fieldConfig?.defaults?.noValue ?? 'no data'} />;
  }
  return <Component panel={panel} frames={frames} width={width} height={height} />;
}

function Panel({ panel, frames }) {
  const { x, y, w, h } = panel.gridPos;
  const cell = WIDTH / COLUMNS;
  const [width, height] = [w * cell - GAP, h * (CELL + GAP) - GAP];
  const position = { position: 'absolute', left: GAP + x * cell, top: GAP + y * (CELL + GAP), width, height };
  if (panel.type === 'row') {
    return <h4 style={{ ...position, margin: 0, paddingTop: 6 }}>{panel.title}</h4>;
  }
  return (
    <div style={position}>
      <PanelChrome title={panel.title} description={panel.description} width={width} height={height}>
        {(innerWidth, innerHeight) => (
          <ErrorBoundary panel={panel}>
            <PanelContent panel={panel} frames={frames} width={innerWidth} height={innerHeight} />
          </ErrorBoundary>
        )}
      </PanelChrome>
    </div>
  );
}

async function render() {
  const panels = await Promise.all(
    dashboard.panels.map(async (panel) => {
      try {
        restoreInfinity(panel);
        return { panel, frames: await framesOf(panel) };
      } catch (error) {
        return { panel: { ...panel, type: `${panel.type} (${error.message})` }, frames: [] };
      }
    })
  );
  createRoot(document.getElementById('root')).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      {panels.map(({ panel, frames }) => (
        <Panel key={panel.id} panel={panel} frames={frames} />
      ))}
    </ThemeContext.Provider>
  );
  setTimeout(() => document.body.setAttribute('data-rendered', 'yes'), 500);
}

render();
