"""The page in a real Chromium: sort, filter, open a record, plots, phone width, dark, keyboard."""

import shutil

import pytest
from PIL import Image

from mixae.results.compare import build_table, select_published
from mixae.results.published import load_published
from mixae.results.record import metric, read_records
from mixae.results.render.html import load_images, to_html

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
DRIVER = shutil.which('chromedriver')
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason='chromium or chromedriver is not installed'
    ),
]
webdriver = pytest.importorskip('selenium.webdriver', reason='selenium is not installed')
Keys = pytest.importorskip('selenium.webdriver.common.keys').Keys
OWN = '<b>our & "own"</b>'


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--disable-dev-shm-usage',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        f'--user-data-dir={tmp_path_factory.mktemp("profile")}',
    ):
        options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope='module')
def url(demo_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp('page')
    for name, colour in (('mixed_input', 'teal'), ('reconstruction_of_both', 'orange')):
        Image.new('RGB', (320, 96), colour).save(folder / f'{name}.png')
    records = read_records(demo_folder)
    published = load_published()
    table = build_table(records, [*select_published(published, records), *published[:24]])
    path = folder / 'page.html'
    path.write_text(to_html(table, records, load_images([folder]), 'Demo <suite>'), 'utf-8')
    return path.as_uri()


@pytest.fixture
def page(browser, url):
    """The page, freshly loaded at a desktop's size; fails if the console held an error."""
    metrics(browser, 1280, 900)
    browser.get(url)
    browser.get_log('browser')
    yield browser
    assert browser.get_log('browser') == []


def metrics(browser, width, height):
    size = dict(width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
    browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size)


def js(browser, code, *arguments):
    return browser.execute_script(code, *arguments)


def shown(browser, key):
    """The texts of one column of the rows that are visible, from top to bottom."""
    return js(
        browser,
        """return [...document.querySelectorAll('tbody tr:not([hidden])')]
           .map((row) => row.querySelector('[data-key="' + arguments[0] + '"]'))
           .map((cell) => cell.dataset.value ?? null)""",
        key,
    )


def key_of(browser, header):
    return js(
        browser,
        """return [...document.querySelectorAll('thead th')]
           .find((head) => head.innerText.trim() === arguments[0]).dataset.key""",
        header,
    )


def choose(browser, select, text):
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element('id', select)).select_by_visible_text(text)


LINEAR = 'Linear, digit scenes (%)'


def test_loading_leaves_no_console_message(browser, url):
    browser.get(url)
    assert browser.get_log('browser') == []
    assert browser.title == 'Demo <suite>'
    assert browser.find_element('tag name', 'h1').text == 'Demo <suite>'


def test_sorting_by_a_header(page):
    key = key_of(page, LINEAR)
    before = shown(page, key)
    button = page.find_element('css selector', f'th[data-key={key}] button')
    button.click()
    down = [float(value) for value in shown(page, key) if value is not None]
    assert down == sorted(down, reverse=True), 'the first click shows the best first'
    head = page.find_element('css selector', f'th[data-key={key}]')
    assert head.get_attribute('aria-sort') == 'descending'
    assert None in shown(page, key) and shown(page, key)[len(down) :].count(None) == len(
        shown(page, key)
    ) - len(down), 'rows without a number stay last'
    button.click()
    up = [float(value) for value in shown(page, key) if value is not None]
    assert up == sorted(up)
    assert shown(page, key)[-1] is None
    page.find_element('css selector', 'button[type=reset]').click()
    assert wait(lambda: shown(page, key) == before)


def wait(condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(None, 5, poll_frequency=0.05).until(lambda _: condition())


def test_filters_work_together(page):
    total = len(shown(page, 'method'))
    choose(page, 'filter-method', 'MixedAE')
    assert len(shown(page, 'method')) == 2
    choose(page, 'filter-backbone', 'vit-micro/8, 64 px')
    assert len(shown(page, 'method')) == 2
    assert page.find_element('id', 'count').text == f'2 of {total} rows'
    choose(page, 'filter-method', 'all')
    rows = len(shown(page, 'method'))
    choose(page, 'filter-task', 'Semantic segmentation')
    assert len(shown(page, 'method')) == rows - 1, 'the random encoder has no mIoU'
    visible = js(
        page,
        "return [...document.querySelectorAll('thead th:not([hidden])')].map((h) => h.innerText)",
    )
    assert not any('Linear' in text for text in visible)
    assert any('mIoU' in text for text in visible) and any('FLOPs' in text for text in visible)


def test_published_rows_can_be_hidden(page):
    page.find_element('id', 'filter-published').click()
    assert page.find_elements('css selector', 'tbody tr.published:not([hidden])') == []
    assert len(shown(page, 'method')) == 8


def test_a_cell_opens_its_records_and_escape_closes_them(page):
    row = page.find_element('xpath', "//tr[@data-method='MixedAE'][1]")
    button = row.find_element('css selector', 'button.open')
    button.click()
    dialog = page.find_element('id', 'record')
    assert dialog.get_attribute('open') is not None
    text = dialog.text
    assert '3 run records' in text
    for part in ('tools/train.py configs/transfer/linear.py', 'c' * 40, 'torch 2.10.0', 'CPU: one'):
        assert part in text
    assert 'sha256 ' + 'a' * 12 in text
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert wait(lambda: dialog.get_attribute('open') is None)
    assert page.switch_to.active_element == button, 'the focus is back where it was'


def test_markup_in_a_name_is_text(page):
    row = next(
        row
        for row in page.find_elements('css selector', 'tbody tr')
        if row.get_attribute('data-method') == OWN
    )
    assert row.find_element('css selector', '.name').text == OWN
    row.find_element('css selector', 'button.open').click()
    assert OWN in page.find_element('id', 'record').text
    page.find_element('id', 'close').click()
    assert OWN in page.find_element('css selector', '#cost-plot .legend').text
    assert js(page, "return document.querySelectorAll('b').length") == 0


def test_keyboard_alone(page):
    key = key_of(page, LINEAR)
    js(
        page,
        'arguments[0].focus()',
        page.find_element('css selector', f'th[data-key={key}] button'),
    )
    page.switch_to.active_element.send_keys(Keys.ENTER)
    values = [float(value) for value in shown(page, key) if value is not None]
    assert values == sorted(values, reverse=True)
    reached = set()
    for _ in range(400):
        active = page.switch_to.active_element
        reached.add((active.tag_name, active.get_attribute('class')))
        if active.tag_name == 'g':
            break
        active.send_keys(Keys.TAB)
    assert {('button', 'open'), ('g', 'point')} <= reached
    active.send_keys(Keys.ENTER)
    assert page.find_element('id', 'record').get_attribute('open') is not None


def test_cost_plot_follows_choice_and_filters(page):
    def points():
        marks = page.find_elements('css selector', '#cost-plot .point')
        return [mark.get_attribute('aria-label') for mark in marks]

    assert len(points()) == 6, 'every measured row that has a pre-training'
    assert all('minutes of pre-training' in label for label in points())
    choose(page, 'plot-x', 'Images seen')
    assert any('2.4e+5 images seen' in label for label in points()), "i-MAE with its teacher's"
    choose(page, 'filter-method', 'MAE')
    assert [label.split(':')[0] for label in points()] == ['MAE']


@pytest.mark.parametrize('width', [390, 1280])
def test_labels_of_the_plot_are_whole_and_apart(page, width):
    metrics(page, width, 900)
    page.refresh()
    for choice in ('Linear, digit scenes (%)', 'Fine-tune, digit scenes (%)'):
        choose(page, 'plot-y', choice)
        wrong = js(
            page,
            """const box = (e) => e.getBoundingClientRect();
            const [frame] = document.querySelectorAll('#cost-plot > svg');
            const labels = [...frame.querySelectorAll('.point text')];
            const marks = [...frame.querySelectorAll('.point path')];
            const meet = (a, b) => a.left < b.right && b.left < a.right
              && a.top < b.bottom && b.top < a.bottom;
            return labels.flatMap((label, at) => {
              const own = box(label);
              const others = [...labels.slice(at + 1), ...marks].filter((o) => meet(own, box(o)));
              const out = own.left < box(frame).left || own.right > box(frame).right;
              return [...others.map((o) => [label.textContent, o.textContent]),
                ...(out ? [[label.textContent, 'cut']] : [])];
            });""",
        )
        assert wrong == []


def test_the_plot_says_which_way_is_better(browser, make_record, tmp_path):
    metrics = {'aft/nrmse': metric(0.2, '', False), 'aft/r2': metric(0.6, '')}
    records = [make_record(task='separability', metrics=metrics)]
    path = tmp_path / 'page.html'
    path.write_text(to_html(build_table(records), records), 'utf-8')
    browser.get(path.as_uri())
    for choice, way in (('NRMSE after', 'down'), ('R² after', 'up')):
        choose(browser, 'plot-y', choice)
        assert f'Further {way} and to the left' in browser.find_element('id', 'cost').text
    assert browser.get_log('browser') == []


def test_curves_show_layers_and_chance(page):
    legend = page.find_element('css selector', '#curve-plot .legend').text
    assert 'layer 6' in legend and 'chance (0.238)' in legend
    assert len(page.find_elements('css selector', '#curve option')) == 2


def test_pictures_load(page):
    widths = js(page, 'return [...document.images].map((image) => image.naturalWidth)')
    assert widths == [320, 320]


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [390, 1280])
def test_fits_and_can_be_read(page, width, scheme):
    metrics(page, width, 900)
    feature = [dict(name='prefers-color-scheme', value=scheme)]
    page.execute_cdp_cmd('Emulation.setEmulatedMedia', dict(features=feature))
    page.refresh()
    overflow = js(page, 'return document.documentElement.scrollWidth - window.innerWidth')
    assert overflow <= 0, 'the page itself never scrolls sideways'
    ratios = js(page, _CONTRAST)
    assert ratios and min(ratios.values()) >= 4.5, ratios
    page.find_element('css selector', 'button.open').click()
    box = js(page, "return document.getElementById('record').getBoundingClientRect().toJSON()")
    assert box['left'] >= 0 and box['right'] <= width


@pytest.mark.parametrize('width', [390, 1280])
def test_long_names_push_nothing_out_of_the_page(browser, make_record, tmp_path, width):
    long = dict(method=300 * 'a', budget=300 * 'b', variant={100 * 'c': 100 * 'd'})
    data = dict(name='A data set with a longer name', description=300 * 'e', split=None)
    data |= dict(n_train=None, n_test=None)
    records = [make_record(**long), make_record(**long, seed=1, dataset=data)]
    path = tmp_path / 'page.html'
    path.write_text(to_html(build_table(records), records, title=300 * 'f'), 'utf-8')
    metrics(browser, width, 900)
    browser.get(path.as_uri())
    outside = js(
        browser,
        """return [...document.querySelectorAll('main *')].filter((e) => {
          const [own, cell] = [e.getBoundingClientRect(), e.closest('td')?.getBoundingClientRect()];
          return own.width > 1 && (!e.closest('.scroll') && own.right > innerWidth
            || cell && own.right > cell.right - 8);
        }).map((e) => `${e.tagName} ${e.id} ${e.textContent.slice(0, 20)}`)""",
    )
    assert [name for name in outside if not name.startswith('TD')] == []
    assert js(browser, 'return document.documentElement.scrollWidth - window.innerWidth') <= 0


# WCAG 2's contrast of the text of every kind of element against the ground behind it.
_CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgba = (colour) => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = rgba(getComputedStyle(at).backgroundColor);
    if (colour[3] === 255) return colour;
  }
  return [255, 255, 255];
};
const found = {};
for (const query of ['h1', '.lead', 'tbody th .name', 'small', 'small.badge', 'td.number .open',
    'td.best .open', '.empty', '.notes', 'select', 'label', '.legend span', 'svg text.soft']) {
  for (const element of document.querySelectorAll(query)) {
    const style = getComputedStyle(element);
    const ink = rgba(element.closest('svg') ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found[query] = Math.min(found[query] ?? 99, ratio);
  }
}
return found;
"""
