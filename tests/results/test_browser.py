"""The page in a real Chromium: sort, filter, open a record, charts, phone width, dark, keyboard."""

import shutil

import pytest
from PIL import Image

from mixae.results.compare import build_table
from mixae.results.published import load_published
from mixae.results.record import read_records
from mixae.results.render.html import load_images, to_html
from mixae.results.table import select_published

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


def shown(browser, column):
    """The texts of one column of the rows that are visible, from top to bottom."""
    return js(
        browser,
        """return [...document.querySelectorAll('tbody tr:not([hidden])')]
           .map((row) => row.cells[arguments[0]])
           .map((cell) => (cell.classList.contains('number') ? cell.dataset.value ?? null
             : cell.querySelector('.name').textContent))""",
        column,
    )


def column_of(browser, header):
    return js(
        browser,
        """return [...document.querySelectorAll('thead th')]
           .findIndex((head) => head.innerText.trim() === arguments[0])""",
        header,
    )


def head_of(browser, column):
    return browser.find_elements('css selector', 'thead th')[column]


def row_of(browser, method):
    """The first row of a method."""
    names = browser.find_elements('css selector', 'tbody .name')
    name = next(name for name in names if name.text == method)
    return name.find_element('xpath', './ancestor::tr')


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
    column = column_of(page, LINEAR)
    before = shown(page, column)
    button = head_of(page, column).find_element('css selector', 'button')
    button.click()
    down = [float(value) for value in shown(page, column) if value is not None]
    assert down == sorted(down, reverse=True), 'the first click shows the best first'
    assert head_of(page, column).get_attribute('aria-sort') == 'descending'
    assert None in shown(page, column) and shown(page, column)[len(down) :].count(None) == len(
        shown(page, column)
    ) - len(down), 'rows without a number stay last'
    button.click()
    up = [float(value) for value in shown(page, column) if value is not None]
    assert up == sorted(up)
    assert shown(page, column)[-1] is None
    page.find_element('css selector', 'button[type=reset]').click()
    assert wait(lambda: shown(page, column) == before)


def wait(condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(None, 5, poll_frequency=0.05).until(lambda _: condition())


def test_filters_work_together(page):
    total = len(shown(page, 0))
    choose(page, 'filter-method', 'MixedAE')
    assert len(shown(page, 0)) == 2
    choose(page, 'filter-backbone', 'vit-micro/8, 64 px')
    assert len(shown(page, 0)) == 2
    assert page.find_element('id', 'count').text == f'2 of {total} rows'
    choose(page, 'filter-method', 'all')
    rows = len(shown(page, 0))
    choose(page, 'filter-task', 'Semantic segmentation')
    assert len(shown(page, 0)) == rows - 1, 'the random encoder has no mIoU'
    visible = js(
        page,
        """return [...document.querySelectorAll('thead th')]
           .filter((head) => head.offsetWidth).map((head) => head.innerText)""",
    )
    assert not any('Linear' in text for text in visible)
    assert any('mIoU' in text for text in visible) and any('FLOPs' in text for text in visible)


def test_published_rows_can_be_hidden(page):
    page.find_element('id', 'filter-published').click()
    assert page.find_elements('css selector', 'tbody tr.published:not([hidden])') == []
    assert len(shown(page, 0)) == 8


def test_a_cell_opens_its_records_and_escape_closes_them(page):
    button = row_of(page, 'MixedAE').find_element('css selector', 'button.open')
    button.click()
    dialog = page.find_element('id', 'record')
    assert dialog.get_attribute('open') is not None
    assert wait(lambda: 'versions' in dialog.text)
    text = dialog.text
    assert '3 run records' in text
    for part in ('tools/train.py configs/transfer/linear.py', 'c' * 40, 'torch 2.10.0', 'CPU: one'):
        assert part in text
    assert 'sha256 ' + 'a' * 12 in text
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert wait(lambda: dialog.get_attribute('open') is None)
    assert page.switch_to.active_element == button, 'the focus is back where it was'


def test_markup_in_a_name_is_text(page):
    row_of(page, OWN).find_element('css selector', 'button.open').click()
    assert wait(lambda: OWN in page.find_element('id', 'record').text)
    page.find_element('id', 'close').click()
    assert js(page, "return document.querySelectorAll('b').length") == 0


def test_keyboard_alone(page):
    column = column_of(page, LINEAR)
    js(page, 'arguments[0].querySelector("button").focus()', head_of(page, column))
    page.switch_to.active_element.send_keys(Keys.ENTER)
    values = [float(value) for value in shown(page, column) if value is not None]
    assert values == sorted(values, reverse=True)
    reached = set()
    for _ in range(400):
        active = page.switch_to.active_element
        reached.add((active.tag_name, active.get_attribute('class')))
        if active.get_attribute('class') == 'open':
            break
        active.send_keys(Keys.TAB)
    assert ('button', 'open') in reached
    active.send_keys(Keys.ENTER)
    assert page.find_element('id', 'record').get_attribute('open') is not None


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_pictures_load_and_charts_are_those_of_the_scheme(page, scheme):
    feature = [dict(name='prefers-color-scheme', value=scheme)]
    page.execute_cdp_cmd('Emulation.setEmulatedMedia', dict(features=feature))
    page.refresh()
    loaded = js(
        page,
        """return Promise.all([...document.images].map(async (image) => {
             image.loading = 'eager';
             await image.decode();
             const source = image.parentElement.querySelector('source');
             const dark = source !== null && image.currentSrc === source.srcset;
             return [image.alt.split(':')[0], image.naturalWidth, dark];
           }));""",
    )
    pictures = [entry for entry in loaded if entry[0] != 'Chart']
    assert [width for _, width, _ in pictures] == [320, 320]
    charts = [entry for entry in loaded if entry[0] == 'Chart']
    assert len(charts) > 4 and all(width > 300 for _, width, _ in charts)
    assert {dark for *_, dark in charts} == {scheme == 'dark'}


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
    'td.best .open', '.empty', '.notes', 'select', 'label', 'figcaption', 'summary']) {
  for (const element of document.querySelectorAll(query)) {
    const style = getComputedStyle(element);
    const [a, b] = [light(rgba(style.color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found[query] = Math.min(found[query] ?? 99, ratio);
  }
}
return found;
"""
